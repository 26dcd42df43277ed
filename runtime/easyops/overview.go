package easyops

import (
	"runtime"
	"runtime/debug"
	gometrics "runtime/metrics"
	"slices"
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
	}
	one := s.sampleNow(now, nil, func(m *metrics.Method, t *metrics.Totals) {
		if t.Calls > 0 {
			d.Methods = append(d.Methods, s.history.method(now, m, t))
		}
	})
	d.Traffic = s.history.windows(one, time.Minute, 5*time.Minute, time.Hour)
	d.Methods = slices.DeleteFunc(d.Methods, func(m status.MethodTraffic) bool { return m.Calls == 0 })
	return d
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
