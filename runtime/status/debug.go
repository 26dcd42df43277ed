package status

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"
)

// Bounds of profiles that run for a while, in seconds.
const (
	defaultCPUSeconds   = 30
	maxCPUSeconds       = 300
	defaultTraceSeconds = 1
	maxTraceSeconds     = 60
)

const debugPath = "/internal/debug/"

// snapshots are the profiles that show what has gathered up to now. Each is a
// page of its own; runtime/pprof knows it by name. net/http/pprof has the same
// but puts them on the mux of the whole process when it is imported.
var snapshots = []struct{ page, name, title, help string }{
	{"pprofheapdump", "heap", "Heap profile", "What the live heap consists of, sampled; ?gc=1 collects garbage first."},
	{"heap", "heap", "Heap profile", "The heap profile under the name that net/http/pprof gives it."},
	{"allocs", "allocs", "Allocations", "Sampled allocations since the start, live or not."},
	{"block", "block", "Blocking", "Where goroutines block, while ?seconds= (at most 300) last; without, since the program has set a block profile rate, if it has."},
	{"mutex", "mutex", "Mutexes", "Who holds contended mutexes, while ?seconds= (at most 300) last; without, since the program has set a mutex profile fraction, if it has."},
	{"threadcreate", "threadcreate", "Threads", "What led to new OS threads."},
}

// HandleDebug registers the pages below /internal/debug/: profiles, traces
// and dumps, one at a time. heapDump says whether the whole heap may be
// dumped, with every secret in it.
func (p *Pages) HandleDebug(heapDump bool) error {
	pages := []Page{
		p.debugInfo("info", false), p.debugInfo("", true),
		p.costly("cpu", "CPU profile", "Where CPU time goes during ?seconds= (30 if not given).", p.cpu),
		p.costly("profile", "CPU profile", "The CPU profile under the name that net/http/pprof gives it.", p.cpu),
		p.costly("trace", "Execution trace", "What the scheduler does during ?seconds= (1 if not given), up to 64 MiB.", p.trace),
		p.costly("goroutine", "Goroutines", "Where goroutines are, those that have waited longest first; for go tool pprof the profile; ?debug=2 in full as text. Of many ?waits=1 reads how long each has waited.", p.goroutines),
	}
	for _, s := range snapshots {
		pages = append(pages, p.costly(s.page, s.title, s.help, sampled(s.name)))
	}
	pages = append(pages, p.symbol())
	dump := p.costly("heapdump", "Heap dump", "The whole heap as it is, with every secret in it; only with -easyops.heap-dump.", heapDumpOff)
	if heapDump {
		dump = p.costly("heapdump", "Heap dump", "The whole heap as it is, with every secret in it. The process stands still meanwhile.", writeHeap)
	}
	return p.handleAll(append(pages, dump))
}

// costly is a debug page that runs alone.
func (p *Pages) costly(name, title, help string, f func(http.ResponseWriter, *Request) error) Page {
	return Page{
		Path: debugPath + name, Group: "Debug", Title: title, Help: help, Access: Operator, Costly: true,
		Raw: func(w http.ResponseWriter, r *Request) error {
			if !p.profiling.CompareAndSwap(false, true) {
				w.Header().Set("Retry-After", "1")
				return Errorf(http.StatusServiceUnavailable, "another profile or dump is running: one at a time, try again when it is done")
			}
			defer p.profiling.Store(false)
			return f(w, r)
		},
	}
}

// download sets the headers of a file.
func download(w http.ResponseWriter, r *Request, suffix string) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", path.Base(r.URL.Path)+suffix))
}

// taken answers that the Go runtime is already at it for somebody else, with
// an error in place of a file.
func taken(w http.ResponseWriter, err error) error {
	w.Header().Del("Content-Type")
	w.Header().Del("Content-Disposition")
	return Errorf(http.StatusConflict, "%v: another part of the process began it, try again later", err)
}

// seconds is how long a profile is to run. The connection's deadlines make
// room for it.
func seconds(w http.ResponseWriter, r *Request, standard, most int) (time.Duration, error) {
	n := standard
	if s := r.FormValue("seconds"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil || n < 1 || n > most {
			return 0, Errorf(http.StatusBadRequest, "seconds=%s cannot be: use a whole number from 1 to %d", visible(s), most)
		}
	}
	d := time.Duration(n) * time.Second
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{}) // its expiry would end the request's context
	_ = c.SetWriteDeadline(time.Now().Add(d + pageTimeout))
	return d, nil
}

// pause waits for d, or less where the caller goes away.
func pause(r *Request, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.Context().Done():
	}
}

func (p *Pages) cpu(w http.ResponseWriter, r *Request) error {
	d, err := seconds(w, r, defaultCPUSeconds, maxCPUSeconds)
	if err != nil {
		return err
	}
	download(w, r, ".pprof")
	if err := pprof.StartCPUProfile(w); err != nil {
		return taken(w, err)
	}
	pause(r, d)
	pprof.StopCPUProfile()
	return nil
}

// snapshot writes one of runtime/pprof's profiles, as text where ?debug= is
// set.
func snapshot(name string) func(http.ResponseWriter, *Request) error {
	return func(w http.ResponseWriter, r *Request) error {
		profile := pprof.Lookup(name)
		if profile == nil {
			return Errorf(http.StatusNotFound, "this build of Go has no %s profile", name)
		}
		level, err := strconv.Atoi(r.FormValue("debug"))
		if err != nil && r.FormValue("debug") != "" || level < 0 || level > 2 {
			return Errorf(http.StatusBadRequest, "debug=%s cannot be: use 0, 1 or 2", visible(r.FormValue("debug")))
		}
		if name == "heap" && r.FormValue("gc") == "1" {
			runtime.GC()
		}
		if level == 0 {
			download(w, r, ".pprof")
		} else {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		}
		_ = profile.WriteTo(w, level) // the client's loss
		return nil
	}
}

func heapDumpOff(http.ResponseWriter, *Request) error {
	return forbidden("heap dumps hold every secret of the process and are off: start the server with -easyops.heap-dump to allow them")
}

// writeHeap dumps the heap to a file that has no name any more, as the
// runtime cannot write it to a connection, and sends that.
func writeHeap(w http.ResponseWriter, r *Request) error {
	f, err := os.CreateTemp("", "heapdump")
	if err != nil {
		return fmt.Errorf("heap dump: %w", err)
	}
	if os.Remove(f.Name()) != nil { // not every system removes an open file
		defer os.Remove(f.Name())
	}
	defer f.Close()
	debug.WriteHeapDump(f.Fd())
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("heap dump: %w", err)
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(maxCPUSeconds * time.Second))
	download(w, r, ".heapdump")
	_, _ = io.Copy(w, f) // the client's loss
	return nil
}

// symbol looks up program counters, for old versions of pprof.
func (p *Pages) symbol() Page {
	return Page{
		Path: debugPath + "symbol", Group: "Debug", Title: "Symbols", Access: Operator,
		Help: "The functions at the program counters in the query, such as ?0x46f8a0+0x47b120.",
		Raw: func(w http.ResponseWriter, r *Request) error {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = fmt.Fprintln(w, "num_symbols: 1")
			for s := range strings.SplitSeq(r.URL.RawQuery, "+") {
				pc, err := strconv.ParseUint(s, 0, 64)
				if f := runtime.FuncForPC(uintptr(pc)); err == nil && f != nil {
					_, _ = fmt.Fprintf(w, "%#x %s\n", pc, f.Name())
				}
			}
			return nil
		},
	}
}
