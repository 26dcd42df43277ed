package status

import "strconv"

const dependenciesPath = "/internal/service-info/dependencies"

// HandleDependencies registers /internal/service-info/dependencies, which shows
// what dependencies gives, in that order. dependencies may be called
// concurrently.
func (p *Pages) HandleDependencies(dependencies func() []Dependency) error {
	return p.Handle(Page{
		Path: dependenciesPath, Group: "This server", Title: "Dependencies", Access: Operator,
		Help: "The services that this program has clients for, dialled or linked in.",
		Get:  func(*Request) (View, error) { return dependenciesView(dependencies()), nil },
	})
}

func dependenciesView(all []Dependency) View {
	t := Table{
		Columns: []string{"Service", "Client", "State"},
		Empty:   "The program has clients for no service but those that are served here.",
	}
	for _, d := range all {
		t.Rows = append(t.Rows, d.row())
	}
	return View{Data: DependenciesData{append([]Dependency{}, all...)}, Body: []Block{t}}
}

func (d Dependency) row() []Cell {
	service := Name(d.Service)
	if d.Clients == 0 {
		return []Cell{service, {Text: "linked in, not dialled", Tone: Muted}, Str(none)}
	}
	service.Link = connectionsPath + "#" + d.Service
	dialled := "dialled"
	if d.Clients > 1 {
		dialled += ", " + strconv.Itoa(d.Clients) + " times"
	}
	return []Cell{service, Str(dialled), connectivity(d.State)}
}
