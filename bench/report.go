package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/go-easyops/easyops/bench/serving"
)

// report is all that was measured, value for value.
type report struct {
	Time    time.Time
	Machine string
	Go      string
	GRPC    string
	Pairs   int
	Slice   time.Duration
	Parts   []string // that were to be measured

	Calls    []*cell              `json:",omitempty"` // of easyops and others
	Identity []*cell              `json:",omitempty"` // of easyops with identity and without
	Peers    []*cell              `json:",omitempty"` // of easyops and peers
	Start    map[string][]float64 `json:",omitempty"` // milliseconds, by variant
	Weight   map[string]*weight   `json:",omitempty"` // by server
	Programs map[string]*program  `json:",omitempty"` // by server
	Memory   map[string]*memory   `json:",omitempty"` // by benchmark
	Tables   map[string]*memory   `json:",omitempty"` // by benchmark
	Plugin   map[string]*effort   `json:",omitempty"` // by plugin
	Goals    []goal               `json:",omitempty"`
	Faults   []fault              `json:",omitempty"` // of parts that ended early, and of peers that did not start

	Descriptions []serving.Description `json:",omitempty"` // of peers
	PeerSlice    time.Duration         `json:",omitempty"` // of their turns

	Edge      []*cell              `json:",omitempty"` // of calls by way of others
	Transfers map[string]*transfer `json:",omitempty"` // by direction

	Discovery []*crowdFigures `json:",omitempty"` // in the order of their turns

	Client    []*clientFigures `json:",omitempty"` // by list, in the order of their turns
	Picks     []*pickFigures   `json:",omitempty"`
	Operation []*operated      `json:",omitempty"` // without calls, and with some
}

// fault is why figures are missing.
type fault struct{ Of, Why string }

// missingTable tells what is missing.
func (r *report) missingTable() *table {
	t := &table{title: "What could not be measured, or not to its end", columns: []string{"of", "why"}}
	for _, f := range r.Faults {
		t.add(f.Of, f.Why)
	}
	return t
}

func newReport(s settings) *report {
	return &report{
		Time:    time.Now().UTC().Truncate(time.Second),
		Machine: fmt.Sprintf("%s, %d cores, %s/%s", processor(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH),
		Go:      runtime.Version(),
		GRPC:    grpc.Version,
		Pairs:   s.pairs,
		Slice:   s.slice,
		Parts:   s.only,
	}
}

// processor names the machine's, where Linux says it.
func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}

// save writes the figures as JSON, as Markdown and as charts.
func (r *report) save(name string) error {
	r.Goals = r.goals()
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(name+".json", append(b, '\n'), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(name+".md", []byte(r.markdown()), 0o600); err != nil {
		return err
	}
	return r.saveCharts(name)
}
