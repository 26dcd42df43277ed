package debug

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
)

func TestPprofReadsTheURLs(t *testing.T) {
	s := busy(t)
	for page, want := range map[string]string{
		"cpu?seconds=1":     "Type: cpu",
		"profile?seconds=1": "Type: cpu",
		"pprofheapdump":     "Type: inuse_space",
		"heap?gc=1":         "Type: inuse_space",
		"allocs":            "Type: alloc_space",
		"goroutine":         "runtime.gopark",
		"block?seconds=1":   "Type: delay",
		"mutex?seconds=1":   "Type: delay",
		"threadcreate":      "Type: threadcreate",
	} {
		out := tool(t, "pprof", "-top", "http://"+s.Addr+pages+page)
		if !strings.Contains(out, want) || !strings.Contains(out, "flat%") {
			t.Errorf("%s: %q is missing in:\n%.2000s", page, want, out)
		}
	}
	// What runs is seen: pprof's own flag for the time works too.
	out := tool(t, "pprof", "-top", "-cum", "-nodecount=1000", "-seconds=1", "http://"+s.Addr+pages+"cpu")
	if !strings.Contains(out, "google.golang.org/grpc") {
		t.Errorf("no call is in the profile:\n%.2000s", out)
	}
	if log := s.Log(); !strings.Contains(log, "audit") || !strings.Contains(log, pages+"cpu") {
		t.Error("profiles leave no audit line")
	}
}

func TestTraceIsRead(t *testing.T) {
	s := busy(t)
	file := save(t, fetch(t, s, "trace?seconds=1"))
	if out := tool(t, "trace", "-d=parsed", file); strings.Count(out, "\n") < 100 || !strings.Contains(out, "GoID") && !strings.Contains(out, "G=") {
		t.Errorf("few events:\n%.2000s", out)
	}
	if out := tool(t, "trace", "-d=footprint", file); !strings.Contains(out, "GoStart") {
		t.Errorf("%.2000s", out)
	}
}

func TestProfilesHoldNoCanary(t *testing.T) {
	s := busy(t, "-easyops.heap-dump")
	if !bytes.Contains(fetch(t, s, "heapdump"), []byte(canary)) {
		t.Error("the process does not hold the canary, so nothing below says anything")
	}
	for _, page := range []string{
		"cpu?seconds=1", "heap", "allocs", "goroutine", "block?seconds=1", "mutex?seconds=1", "threadcreate", "trace?seconds=1",
		"goroutine?debug=1", "goroutine?debug=2", "goroutine?format=html", "goroutine?format=json", "heap?debug=1", "info",
	} {
		b := unpacked(t, fetch(t, s, page))
		if len(b) == 0 || bytes.Contains(b, []byte(canary)) {
			t.Errorf("%s holds what a caller sent, or nothing (%d bytes)", page, len(b))
		}
	}
}

func TestGoroutinesForPeople(t *testing.T) {
	s := busy(t)
	page := string(fetch(t, s, "goroutine", "text/html,application/xhtml+xml"))
	if !strings.Contains(page, "<table") || !strings.Contains(page, "Longest wait") || len(page) > 1<<20 {
		t.Errorf("%d bytes: %.1000s", len(page), page)
	}
	if text := string(fetch(t, s, "goroutine?format=text")); !strings.Contains(text, "grouped by where they are") {
		t.Errorf("%.1000s", text)
	}
	// HEAD costs nothing and ends at once, however long the profile were.
	resp, err := http.Head("http://" + s.Addr + pages + "cpu?seconds=300")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Error(resp.Status)
	}
}
