package serving

import (
	"bytes"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"syscall"
	"time"
)

// Usage is what a process has needed since it was started.
type Usage struct {
	CPU time.Duration // of all its threads, in user and kernel mode
	RSS int64         // bytes in memory now; where that cannot be asked, the most so far
}

// UsageOf is what the system has counted. Its RSS is the most so far.
func UsageOf(r *syscall.Rusage) Usage {
	most := int64(r.Maxrss) //nolint:unconvert // it has 32 bits on some systems
	if runtime.GOOS == "linux" {
		most <<= 10 // Linux counts KiB
	}
	return Usage{CPU: time.Duration(r.Utime.Nano() + r.Stime.Nano()), RSS: most}
}

// OwnUsage is the usage of this process.
func OwnUsage() (Usage, error) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return Usage{}, err
	}
	u := UsageOf(&r)
	// The second number is that of the pages in memory (proc(5)).
	if statm, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := bytes.Fields(statm); len(fields) > 1 {
			if pages, err := strconv.ParseInt(string(fields[1]), 10, 64); err == nil {
				u.RSS = pages * int64(os.Getpagesize())
			}
		}
	}
	return u, nil
}

// StartProfile writes a CPU profile of this process into a file until stop is
// called. Without a file it does nothing.
func StartProfile(file string) (stop func(), err error) {
	if file == "" {
		return func() {}, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() { pprof.StopCPUProfile(); f.Close() }, nil
}
