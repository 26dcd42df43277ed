package status

import (
	"net/http"
	"runtime"
	"runtime/pprof"
	"sync"
)

// How closely blocking and mutexes are looked at while a profile of them lasts:
// an event for each 10 µs of blocking on average, and one of 10 contentions. It
// costs little.
const (
	blockRate     = 10_000
	mutexFraction = 10
)

// sampling is what looks at blocking or at mutexes for as long as somebody asks:
// the rate is the process's, whichever servers of it are asked.
type sampling struct {
	mu    sync.Mutex
	asked int
	by    func() bool // tells whether the program does so itself
	rate  func(on bool)
	ours  bool
}

// begin looks, unless the program does so itself, until end is called.
func (s *sampling) begin() (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked == 0 {
		s.ours = !s.by()
		s.set(true)
	}
	s.asked++
	return s.end
}

func (s *sampling) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked--; s.asked == 0 {
		s.set(false)
	}
}

func (s *sampling) set(on bool) {
	if s.ours {
		s.rate(on)
	}
}

// ofProcess are what is looked at, by the name of the profile.
var ofProcess = map[string]*sampling{"block": newBlocking(), "mutex": {
	by: func() bool { return runtime.SetMutexProfileFraction(-1) != 0 },
	rate: func(on bool) {
		if on {
			runtime.SetMutexProfileFraction(mutexFraction)
		} else {
			runtime.SetMutexProfileFraction(0)
		}
	},
}}

// newBlocking looks at blocking. The Go runtime does not tell whether the program
// does, but by a profile that is not empty and not from here.
func newBlocking() *sampling {
	sampled := false
	return &sampling{
		by: func() bool {
			profile := pprof.Lookup("block")
			return profile != nil && profile.Count() > 0 && !sampled
		},
		rate: func(on bool) {
			if sampled = true; on {
				runtime.SetBlockProfileRate(blockRate)
			} else {
				runtime.SetBlockProfileRate(0)
			}
		},
	}
}

// sampled is a profile that shows what has gathered up to now. Blocking and
// mutexes gather only while somebody asks for them, which ?seconds= does.
func sampled(name string) func(http.ResponseWriter, *Request) error {
	take := snapshot(name)
	return func(w http.ResponseWriter, r *Request) error {
		if r.FormValue("seconds") == "" {
			return take(w, r)
		}
		look, ok := ofProcess[name]
		if !ok {
			return Errorf(http.StatusBadRequest, "the %s profile holds what has gathered since the start and takes no seconds: "+
				"take it twice, and compare by go tool pprof -base FIRST SECOND", name)
		}
		d, err := seconds(w, r, defaultCPUSeconds, maxCPUSeconds)
		if err != nil {
			return err
		}
		func() {
			defer look.begin()()
			pause(r, d)
		}()
		return take(w, r)
	}
}
