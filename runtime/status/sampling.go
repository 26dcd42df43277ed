package status

import (
	"net/http"
	"runtime"
	"runtime/pprof"
	"sync/atomic"
)

// How closely blocking and mutexes are looked at while a profile of them lasts:
// an event for each 10 µs of blocking on average, and one of 10 contentions. It
// costs little.
const (
	blockRate     = 10_000
	mutexFraction = 10
)

// blockingSampled says that the profile of blocking is from here. The profile is
// the process's, whichever server of it was asked.
var blockingSampled atomic.Bool

// sampled is a profile that shows what has gathered up to now. Blocking and
// mutexes gather only while somebody asks for them, which ?seconds= does.
func sampled(name string) func(http.ResponseWriter, *Request) error {
	take := snapshot(name)
	return func(w http.ResponseWriter, r *Request) error {
		if r.FormValue("seconds") == "" {
			return take(w, r)
		}
		begin := map[string]func() (end func()){"block": sampleBlocking, "mutex": sampleMutexes}[name]
		if begin == nil {
			return Errorf(http.StatusBadRequest, "the %s profile holds what has gathered since the start and takes no seconds: "+
				"take it twice, and compare by go tool pprof -base FIRST SECOND", name)
		}
		d, err := seconds(w, r, defaultCPUSeconds, maxCPUSeconds)
		if err != nil {
			return err
		}
		end := begin()
		pause(r, d)
		end()
		return take(w, r)
	}
}

// sampleMutexes looks at mutexes, unless the program does so itself.
func sampleMutexes() (end func()) {
	if runtime.SetMutexProfileFraction(-1) != 0 {
		return func() {}
	}
	runtime.SetMutexProfileFraction(mutexFraction)
	return func() { runtime.SetMutexProfileFraction(0) }
}

// sampleBlocking looks at blocking, unless the program does so itself. The Go
// runtime does not tell, but by a profile that is not empty and not from here.
func sampleBlocking() (end func()) {
	if profile := pprof.Lookup("block"); profile != nil && profile.Count() > 0 && !blockingSampled.Load() {
		return func() {}
	}
	blockingSampled.Store(true)
	runtime.SetBlockProfileRate(blockRate)
	return func() { runtime.SetBlockProfileRate(0) }
}
