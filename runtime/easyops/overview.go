package easyops

import (
	"cmp"
	"context"
	"runtime"
	"runtime/debug"
	gometrics "runtime/metrics"
	"slices"
	"sort"
	"time"

	"github.com/go-easyops/easyops/runtime/metrics"
	"github.com/go-easyops/easyops/runtime/status"
)

// overview is what the status pages show of how the server does now. They add
// what they know themselves.
func (s *Server) overview() status.OverviewData {
	now := time.Now()
	d := status.OverviewData{
		Now: now.UTC(), Process: process(now), InFlight: s.calls.inFlight(), Connections: s.port.Conns().Open,
		History: s.history.lines(), RecentErrors: s.recent.all(), Methods: []status.MethodTraffic{},
		Running: s.calls.running(), Clients: outbound(conns()), Problems: s.ownProblems(),
	}
	one := s.sampleNow(now, nil, func(m *metrics.Method, t *metrics.Totals) {
		if t.Calls > 0 {
			d.Methods = append(d.Methods, s.history.method(now, m, t))
		}
	})
	spans := []time.Duration{time.Minute, 5 * time.Minute, time.Hour}
	d.Traffic, d.Judged = s.history.windows(one, spans...), s.history.judged(one, spans...)
	d.Methods = slices.DeleteFunc(d.Methods, func(m status.MethodTraffic) bool { return m.Calls == 0 })
	return d
}

// ownProblems are those that the program's functions find.
func (s *Server) ownProblems() (all []status.Problem) {
	for _, find := range s.cfg.problems {
		_ = s.guard(context.Background(), "WithProblems", func() { all = append(all, find()...) })
	}
	return all
}

// running are the calls in flight by method, those that have ended and whose
// handlers go on first, then the oldest.
func (cs *calls) running() []status.RunningCalls {
	type kind struct {
		*method
		stream bool
	}
	byKind := map[kind]*status.RunningCalls{}
	cs.each(func(c *call) {
		k := kind{c.method, c.isStream()}
		r := byKind[k]
		if r == nil {
			r = &status.RunningCalls{Method: c.method.name, Stream: k.stream}
			byKind[k] = r
		}
		age := c.age()
		r.Calls++
		r.Oldest = max(r.Oldest, status.Seconds(age))
		if c.ignores {
			r.Ignoring++
			r.IgnoringFor = max(r.IgnoringFor, status.Seconds(age-c.over))
		}
	})
	all := []status.RunningCalls{}
	for _, r := range byKind {
		all = append(all, *r)
	}
	sort.Slice(all, func(i, j int) bool {
		a, b := &all[i], &all[j]
		return cmp.Or(cmp.Compare(b.Ignoring, a.Ignoring), cmp.Compare(b.Oldest, a.Oldest), cmp.Compare(a.Method, b.Method)) < 0
	})
	return all
}

// traffic is what calls of each method were like of late.
func (s *Server) traffic() []status.MethodTraffic {
	now := time.Now()
	var all []status.MethodTraffic
	var t metrics.Totals
	s.metrics.Each(func(m *metrics.Method) {
		if t = m.Totals(); t.Calls > 0 {
			all = append(all, s.history.method(now, m, &t))
		}
	})
	return all
}

// pausesOfLate is how far back the pauses of the collector are looked at.
const pausesOfLate = 5 * time.Minute

// process describes the process in a few figures.
func process(now time.Time) status.ProcessData {
	names := []string{"/memory/classes/total:bytes", "/memory/classes/heap/released:bytes", "/gc/cycles/total:gc-cycles"}
	read := make([]gometrics.Sample, len(names))
	for i, name := range names {
		read[i].Name = name
	}
	gometrics.Read(read)
	p := status.ProcessData{
		Goroutines: runtime.NumGoroutine(), HeapBytes: heapBytes(), MaxProcs: runtime.GOMAXPROCS(0),
		SystemBytes: read[0].Value.Uint64() - read[1].Value.Uint64(), GCCycles: read[2].Value.Uint64(),
	}
	var gc debug.GCStats
	debug.ReadGCStats(&gc)
	for i, pause := range gc.Pause {
		if i < len(gc.PauseEnd) && now.Sub(gc.PauseEnd[i]) < pausesOfLate {
			p.GCPause = max(p.GCPause, status.Seconds(pause))
		}
	}
	return p
}
