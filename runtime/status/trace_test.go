package status

import (
	"bytes"
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/trace"
	"sync"
	"testing"
	"time"
)

// A trace that is stopped at its size still can be read.
func TestTraceIsBounded(t *testing.T) {
	gotool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("the go command is not on the PATH")
	}
	const bound = 200 << 10
	var b bytes.Buffer
	out := &traceWriter{to: &b, left: bound, full: make(chan struct{})}
	if err := trace.Start(out); err != nil {
		t.Fatal(err)
	}
	end := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
					runtime.Gosched()
				}
			}
		})
	}
	r := &Request{Request: httptest.NewRequest("GET", "/", nil)}
	start := time.Now()
	why := out.wait(r, time.Minute, time.Minute)
	trace.Stop()
	close(end)
	wg.Wait()
	t.Logf("%d bytes in %v: %s", b.Len(), time.Since(start), why)
	if why == "" || b.Len() < bound || b.Len() > 64*bound {
		t.Errorf("%d bytes: %s", b.Len(), why)
	}
	file := filepath.Join(t.TempDir(), "trace.out")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(gotool, "tool", "trace", "-d=footprint", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%.1000s", err, out)
	}
}

// stuck is a client that reads nothing until it is let go.
type stuck chan struct{}

func (s stuck) Write(b []byte) (int, error) { <-s; return len(b), nil }

func TestTraceEndsWithTheClient(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := &Request{Request: httptest.NewRequest("GET", "/", nil).WithContext(ctx)}
	to := make(stuck)
	out := &traceWriter{to: to, left: maxTraceBytes, full: make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = out.Write([]byte("x")) })
	if why := out.wait(r, time.Minute, 20*time.Millisecond); why != "the client reads too slowly" {
		t.Error(why)
	}
	close(to)
	wg.Wait()
	if why := out.wait(r, 30*time.Millisecond, 4*time.Millisecond); why != "" {
		t.Errorf("nothing is being written, and: %s", why)
	}
	cancel()
	if why := out.wait(r, time.Minute, time.Minute); why != "the client has gone" {
		t.Error(why)
	}
}
