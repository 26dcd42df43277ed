package status

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestProfilesAreReadByGoTools(t *testing.T) {
	gotool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("the go command is not on the PATH")
	}
	f := newFixture(t, func(c *Config) { c.Operator = Anyone })
	for _, page := range []string{"cpu?seconds=1", "profile?seconds=1", "pprofheapdump", "goroutine", "allocs", "heap?gc=1"} {
		out, err := exec.Command(gotool, "tool", "pprof", "-raw", "-symbolize=none", f.URL+debugPath+page).CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("PeriodType")) {
			t.Errorf("go tool pprof %s: %v\n%s", page, err, out)
		}
	}
	file := filepath.Join(t.TempDir(), "trace.out")
	if err := os.WriteFile(file, []byte(f.ask("GET", debugPath+"trace?seconds=1").body), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(gotool, "tool", "trace", "-d=footprint", file).CombinedOutput()
	if err != nil {
		t.Errorf("go tool trace: %v\n%s", err, out)
	}
}

func TestProfileIsAFile(t *testing.T) {
	f := newFixture(t)
	a := f.asOperator("GET", debugPath+"heap")
	if got := a.Header.Get("Content-Disposition"); got != `attachment; filename="heap.pprof"` {
		t.Errorf("Content-Disposition: %s", got)
	}
	text := f.asOperator("GET", debugPath+"goroutine?debug=2")
	text.want(t, 200, "goroutine ", "runtime/status")
	if text.Header.Get("Content-Disposition") != "" {
		t.Error("the text is a file too")
	}
}

func TestOneProfileAtATime(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", f.URL+debugPath+"cpu?seconds=300", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(operatorHeader, "alice")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if resp, err := f.Client().Do(r); err == nil {
			resp.Body.Close()
		}
	}()
	waitFor(t, f.pages.profiling.Load)
	a := f.asOperator("GET", debugPath+"heap")
	a.want(t, 503, "one at a time")
	if a.Header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	cancel()
	<-ended
	waitFor(t, func() bool { return !f.pages.profiling.Load() })
	f.asOperator("GET", debugPath+"heap").want(t, 200)
}

// waitFor polls until something is so.
func waitFor(t *testing.T, so func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never came")
		}
	}
}

func TestProfileThatSomebodyElseTakes(t *testing.T) {
	if err := pprof.StartCPUProfile(&bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	defer pprof.StopCPUProfile()
	a := newFixture(t).asOperator("GET", debugPath+"cpu?seconds=1")
	a.want(t, 409, "try again")
	if a.Header.Get("Content-Disposition") != "" {
		t.Error("the error is a file")
	}
}

func TestSecondsAreBounded(t *testing.T) {
	f := newFixture(t)
	for _, query := range []string{"cpu?seconds=0", "cpu?seconds=-1", "cpu?seconds=301", "cpu?seconds=x", "trace?seconds=61", "trace?seconds=1e3"} {
		f.asOperator("GET", debugPath+query).want(t, 400, "whole number from 1 to")
	}
	f.asOperator("GET", debugPath+"goroutine?debug=7").want(t, 400, "debug=7")
}

func TestProfilesThatTakeNoSeconds(t *testing.T) {
	f := newFixture(t)
	for _, page := range []string{"heap", "allocs", "pprofheapdump", "threadcreate"} {
		f.asOperator("GET", debugPath+page+"?seconds=1").want(t, 400, "go tool pprof -base")
	}
	f.asOperator("GET", debugPath+"block?seconds=301").want(t, 400, "from 1 to 300")
}

// Blocking and mutexes are looked at for as long as somebody asks, and not
// longer.
func TestSamplingForAWhile(t *testing.T) {
	f := newFixture(t)
	end := make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-end:
					return
				case <-time.After(time.Millisecond):
				}
				for range 100 {
					mu.Lock()
					runtime.Gosched()
					mu.Unlock()
				}
			}
		})
	}
	defer func() { close(end); wg.Wait() }()
	for _, page := range []string{"block", "mutex"} {
		a := f.asOperator("GET", debugPath+page+"?seconds=1&debug=1")
		a.want(t, 200, "TestSamplingForAWhile")
		if now := runtime.SetMutexProfileFraction(-1); now != 0 {
			t.Errorf("%s: mutexes are still looked at: %d", page, now)
		}
	}
	before := f.asOperator("GET", debugPath+"block?debug=1").body
	time.Sleep(20 * time.Millisecond) // would be blocking that is seen
	if after := f.asOperator("GET", debugPath+"block?debug=1").body; after != before {
		t.Error("blocking is still looked at")
	}
}

func TestSamplingLeavesTheProgramsOwn(t *testing.T) {
	f := newFixture(t)
	runtime.SetMutexProfileFraction(7)
	defer runtime.SetMutexProfileFraction(0)
	f.asOperator("GET", debugPath+"mutex?seconds=1").want(t, 200)
	if now := runtime.SetMutexProfileFraction(-1); now != 7 {
		t.Errorf("the program's fraction is now %d", now)
	}
}

func TestHeapDumpNeedsItsFlag(t *testing.T) {
	f := newFixture(t)
	f.asOperator("GET", debugPath+"heapdump").want(t, 403, "-easyops.heap-dump")

	p, err := New(Config{Operator: testOperator})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.HandleDebug(true); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(p.Handler())
	defer s.Close()
	t.Setenv("TMPDIR", t.TempDir())
	f.Server = s
	f.ask("GET", debugPath+"heapdump").want(t, 403)
	a := f.asOperator("GET", debugPath+"heapdump")
	a.want(t, 200)
	if !strings.HasPrefix(a.body, "go1.7 heap dump\n") {
		t.Errorf("not a heap dump: %.40q", a.body)
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("files left behind: %v, %v", left, err)
	}
}

func TestDebugIndexListsTheProfiles(t *testing.T) {
	f := newFixture(t)
	for _, path := range []string{"/internal/debug/info", "/internal/debug/"} {
		f.asOperator("GET", path).want(t, 200, debugPath+"cpu", "go tool pprof -http=: "+f.URL+debugPath+"cpu?seconds=10")
	}
}

func TestDefaultMuxStaysEmpty(t *testing.T) {
	for _, path := range []string{"/debug/pprof/", "/internal/help", "/metrics"} {
		r := httptest.NewRequest("GET", path, nil)
		if _, pattern := http.DefaultServeMux.Handler(r); pattern != "" {
			t.Errorf("the process' own mux serves %s", path)
		}
	}
}

func TestSymbol(t *testing.T) {
	f := newFixture(t)
	f.asOperator("GET", debugPath+"symbol?0x1+zzz").want(t, 200, "num_symbols: 1")
}
