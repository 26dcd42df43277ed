package status

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// debugData is the JSON form of the index of the debug pages.
type debugData struct {
	Goroutines  int         `json:"goroutines"`
	CPUs        int         `json:"cpus"`
	MaxProcs    int         `json:"gomaxprocs"`
	HeapBytes   uint64      `json:"heap_bytes"`
	SystemBytes uint64      `json:"system_bytes"`
	GCCycles    uint32      `json:"gc_cycles"`
	MemoryLimit int64       `json:"memory_limit_bytes"`
	Pages       []debugPage `json:"pages"`
}

type debugPage struct {
	Path string `json:"path"`
	Help string `json:"help"`
}

func (p *Pages) debugInfo(name string, hidden bool) Page {
	return Page{
		Path: debugPath + name, Group: "Debug", Title: "Debug", Access: Operator, Hidden: hidden,
		Help: "Profiles, traces and dumps with the commands that read them, and the process in a few figures.",
		Get:  func(r *Request) (View, error) { return p.debugView(r), nil },
	}
}

func (p *Pages) debugView(r *Request) View {
	d := readDebug()
	t := Table{Columns: []string{"Profile", "Path", "What"}}
	for _, pg := range p.list() {
		if !pg.Hidden && pg.Costly && strings.HasPrefix(pg.Path, debugPath) {
			d.Pages = append(d.Pages, debugPage{pg.Path, pg.Help})
			t.Rows = append(t.Rows, []Cell{Link(pg.Path, pg.Title), Name(pg.Path), Str(pg.Help)})
		}
	}
	url := func(path string) string { return p.ownURL(r.Request, path) }
	return View{Data: d, Body: []Block{
		KV{
			{"Goroutines", Cell{Text: fmt.Sprint(d.Goroutines), Link: debugPath + "goroutine?debug=2"}},
			{"CPUs", Str(fmt.Sprintf("%d, GOMAXPROCS %d", d.CPUs, d.MaxProcs))},
			{"Heap", Str(bytesText(d.HeapBytes) + " in use, " + bytesText(d.SystemBytes) + " from the system")},
			{"Garbage collections", Str(fmt.Sprint(d.GCCycles))},
		},
		Section{ID: "profiles", Title: "Profiles", Body: []Block{t, Text("They run one at a time, and each is written to the log.")}},
		Section{ID: "commands", Title: "Commands", Body: []Block{Code(strings.Join([]string{
			"go tool pprof -http=: " + url(debugPath+"cpu") + "?seconds=10",
			"go tool pprof -http=: " + url(debugPath+"pprofheapdump"),
			"curl -s -o trace.out '" + url(debugPath+"trace") + "?seconds=5' && go tool trace trace.out",
			"curl -s '" + url(debugPath+"goroutine") + "?debug=2'",
		}, "\n"))}},
	}}
}

func readDebug() debugData {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return debugData{
		Goroutines: runtime.NumGoroutine(), CPUs: runtime.NumCPU(), MaxProcs: runtime.GOMAXPROCS(0),
		HeapBytes: m.HeapInuse, SystemBytes: m.Sys, GCCycles: m.NumGC, MemoryLimit: debug.SetMemoryLimit(-1),
		Pages: []debugPage{},
	}
}

func bytesText(n uint64) string {
	const mib = 1 << 20
	return fmt.Sprintf("%.1f MiB", float64(n)/mib)
}
