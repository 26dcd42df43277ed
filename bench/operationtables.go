package main

import "fmt"

// operationCPU is what all that looks after a server may use of a core, in %.
const operationCPU = 2.0

// more returns how much more of a core a server used in a mode, in percentage
// points.
func (o *operated) more(mode string) spread { return differences(o.CPU[mode], o.CPU[undisturbed]) }

// load names what a server has to do beside.
func (o *operated) load() string {
	if o.PerSecond == 0 {
		return "no calls"
	}
	return fmt.Sprintf("%d calls a second", o.PerSecond)
}

func (r *report) operationTable() *table {
	t := &table{
		title: fmt.Sprintf("A server under operation, that knows %d callers and has a client of %d instances: what it uses of a core", operationCallers, operationCrowd),
		columns: []string{
			"calls", "beside them", "CPU, % of a core", "more than with " + undisturbed, "changes a second", "turns",
		},
	}
	for _, o := range r.Operation {
		for _, m := range modes {
			t.add(o.load(), m.name, spreadOf(o.CPU[m.name]), o.more(m.name), spreadOf(o.Changes[m.name]), len(o.CPU[m.name]))
		}
	}
	return t
}

// operationGoals are about all together.
func (r *report) operationGoals() (list []goal) {
	for _, o := range r.Operation {
		list = append(list, goal{
			What:   "CPU for scrapes, changes and the overview together, % of a core: " + o.load(),
			Figure: o.more(allTogether), AtMost: operationCPU, Control: o.more(undisturbedAgain), Difference: true,
		})
	}
	return list
}

// operationRatios are of servers that have calls: what others use by themselves is
// next to nothing, and says little as a part of it.
func (r *report) operationRatios() map[string]spread {
	all := map[string]spread{}
	for _, o := range r.Operation {
		if o.PerSecond == 0 {
			continue
		}
		name := fmt.Sprintf("operation/cpu/%s/%s:%s", o.load(), allTogether, undisturbed)
		all[name] = ratios(o.CPU[allTogether], o.CPU[undisturbed])
	}
	return all
}
