package status

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

func (p *Pages) debugInfo(name string, hidden bool) Page {
	return Page{
		Path: debugPath + name, Group: "Debug", Title: "Debug", Access: Operator, Hidden: hidden,
		Help: "Profiles, traces and dumps with the commands that read them, and the process in a few figures.",
		Get:  func(r *Request) (View, error) { return p.debugView(r), nil },
	}
}

func (p *Pages) debugView(r *Request) View {
	d := readDebug()
	t := Table{Columns: []string{"Profile", "What"}, Wide: 2}
	for _, pg := range p.list() {
		if !pg.Hidden && pg.Costly && strings.HasPrefix(pg.Path, debugPath) {
			d.Pages = append(d.Pages, DebugPage{pg.Path, pg.Help})
			t.Rows = append(t.Rows, []Cell{pg.cell(), Str(pg.Help)})
		}
	}
	url := func(path string) string { return p.ownURL(r.Request, path) }
	return View{Data: d, Body: []Block{
		KV{
			{"Goroutines", Cell{Text: thousands(d.Goroutines), Link: debugPath + "goroutine"}},
			{"CPUs", Str(fmt.Sprintf("%d, GOMAXPROCS %d", d.CPUs, d.MaxProcs))},
			{"Heap", Str(memory(d.HeapBytes) + " in use, " + memory(d.SystemBytes) + " from the system")},
			{"Garbage collections", Str(fmt.Sprint(d.GCCycles))},
		},
		Section{ID: "profiles", Title: "Profiles", Body: []Block{t, Text("They run one at a time, and each is written to the log.")}},
		Section{ID: "commands", Title: "Commands", Body: []Block{Code(strings.Join([]string{
			p.pprof(r, "cpu", "?seconds=10"),
			p.pprof(r, "pprofheapdump", ""),
			p.pprof(r, "mutex", "?seconds=10"),
			p.curl(r.Request, "-s -o trace.out ", url(debugPath+"trace")+"?seconds=5") + " && go tool trace trace.out",
			p.curl(r.Request, "-s ", url(debugPath+"goroutine")+"?format=text"),
		}, "\n"))}},
	}}
}

// pprof is a command that shows a profile. pprof itself sends no tokens and
// believes no authorities but the system's, so curl fetches it where that
// matters.
func (p *Pages) pprof(r *Request, profile, query string) string {
	from := p.ownURL(r.Request, debugPath+profile) + query
	if r.TLS == nil && !p.cfg.Tokens {
		return "go tool pprof -http=: " + from
	}
	file := profile + ".pb.gz"
	return p.curl(r.Request, "-s -o "+file+" ", from) + " && go tool pprof -http=: " + file
}

func readDebug() DebugData {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return DebugData{
		Goroutines: runtime.NumGoroutine(), CPUs: runtime.NumCPU(), MaxProcs: runtime.GOMAXPROCS(0),
		HeapBytes: m.HeapInuse, SystemBytes: m.Sys, GCCycles: m.NumGC, MemoryLimit: debug.SetMemoryLimit(-1),
		Pages: []DebugPage{},
	}
}
