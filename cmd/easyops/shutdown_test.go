package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/registry"
)

// gone fails the test where an instance still answers.
func gone(t *testing.T, all ...registry.Instance) {
	t.Helper()
	for _, i := range all {
		if answer, err := http.Get("http://" + i.Addr + "/internal/health"); err == nil {
			answer.Body.Close()
			t.Errorf("%s is there", i.ID)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestShutdownOfOne(t *testing.T) {
	f := newFleet(t)
	a := f.add()
	expect(t, 0, "INSTANCE ADDRESS STATE\n"+a.ID+" "+a.Addr+" STOPPING\n", "shutdown", a.ID, "--reason", "test")
	f.waitFor(echoService, func(list []registry.Instance) bool { return len(list) == 0 })

	f.n = 0
	b := f.add(easyops.WithDrainDelay(300 * time.Millisecond))
	begun := time.Now()
	expect(t, 0, "INSTANCE ADDRESS STATE\n"+b.ID+" "+b.Addr+" gone\n", "shutdown", "--wait", b.Addr)
	if d := time.Since(begun); d < 300*time.Millisecond {
		t.Errorf("it was gone after %v", d)
	}
	gone(t, b)
}

// Several stop one after the other, and each of them only when the one before it
// is gone.
func TestShutdownOfAService(t *testing.T) {
	f := newFleet(t)
	f.add(easyops.WithDrainDelay(100 * time.Millisecond))
	f.add(easyops.WithDrainDelay(100 * time.Millisecond))
	all := f.newestTwo()
	expect(t, 2, "easyops: shutdown: this would shut down 2 instances of "+echoService+", and nobody answers whether it may: add --yes\n", "shutdown", echoService)

	watching, end := context.WithCancel(t.Context())
	var most atomic.Int32
	done := make(chan struct{})
	go func() {
		defer close(done)
		l := lookup{url: f.url, timeout: lifetime(10 * time.Second)}
		if err := l.open(io.Discard); err != nil {
			t.Error(err)
			return
		}
		defer l.reg.Close()
		l.reg.Watch(watching, echoService, func(list []registry.Instance, _ error) {
			stopping := int32(len(list) - readyOf(list))
			most.Store(max(most.Load(), stopping))
		})
	}()
	code, stdout, stderr := callTyping("y\n", "shutdown", echoService)
	end()
	<-done
	want := "INSTANCE ADDRESS STATE\n" + all[0].ID + " " + all[0].Addr + " gone\n" + all[1].ID + " " + all[1].Addr + " gone\n"
	if code != 0 || plain(stdout) != plain(want) || !strings.Contains(stderr, all[0].ID+" at "+all[0].Addr+" is gone") {
		t.Errorf("code %d\n%s\n%s", code, stdout, stderr)
	}
	if most.Load() > 1 {
		t.Errorf("%d stopped at the same time", most.Load())
	}
	gone(t, all...)
}

func TestShutdownAtOnce(t *testing.T) {
	f := newFleet(t)
	f.add()
	f.add()
	all := f.newestTwo()
	expect(t, 0, "INSTANCE ADDRESS STATE\n"+all[0].ID+" "+all[0].Addr+" gone\n"+all[1].ID+" "+all[1].Addr+" gone\n", "shutdown", "--yes", "--at-once", "--wait", echoService)
	gone(t, all...)
	expect(t, 2, "easyops: shutdown: --at-once waits for no replacement: leave out one of --at-once and --replaced\n", "shutdown", "--at-once", "--replaced", echoService)
}

// One that does not go keeps those behind it from being asked, as does one that is
// not replaced.
func TestShutdownThatStops(t *testing.T) {
	f := newFleet(t)
	var asked atomic.Int32
	stays := func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"state":"STOPPING"}`)
	}
	a := f.addFake("a", stays)
	b := f.addFake("b", stays)
	code, stdout, stderr := call("shutdown", "--yes", "--within", "300ms", echoService)
	if code != 1 || asked.Load() != 1 || !strings.Contains(plain(stdout), "a "+a.Addr+" STOPPING") ||
		!strings.Contains(stderr, "a at "+a.Addr+": it was asked to stop, and is still there after 300ms: --within gives it longer") ||
		!strings.Contains(stderr, "b at "+b.Addr+": not tried, as one before it failed") {
		t.Errorf("%d asked, code %d\n%s\n%s", asked.Load(), code, stdout, stderr)
	}
}

func TestShutdownReplaced(t *testing.T) {
	f := newFleet(t)
	f.add()
	f.add()
	all := f.newestTwo()
	code, _, stderr := call("shutdown", "--yes", "--replaced", "--within", "500ms", echoService)
	if code != 1 || !strings.Contains(stderr, all[0].ID+" at "+all[0].Addr+": it is gone, and after 500ms there are less than 2 READY instances of "+echoService) || !strings.Contains(stderr, "not tried") {
		t.Errorf("code %d, %s", code, stderr)
	}
	gone(t, all[0])
	// The control: what starts processes again.
	started := make(chan struct{})
	go func() {
		defer close(started)
		f.waitFor(echoService, func(list []registry.Instance) bool { return len(list) == 0 })
		f.n = 0
		f.add()
	}()
	if code, _, stderr := call("shutdown", "--replaced", "--within", "10s", all[1].ID); code != 0 {
		t.Errorf("code %d, %s", code, stderr)
	}
	<-started
}

// What stops another while this program is interrupted says how far it came.
func TestShutdownInterrupted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no such signal")
	}
	f := newFleet(t)
	a := f.addFake("a", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"state":"STOPPING"}`)
		time.AfterFunc(200*time.Millisecond, func() { interrupt(t) })
	})
	f.addFake("b", func(http.ResponseWriter, *http.Request) { t.Error("it was asked") })
	code, _, stderr := call("shutdown", "--yes", echoService)
	if code != 1 || !strings.Contains(stderr, "a at "+a.Addr+": it was asked to stop, and ") || !strings.Contains(stderr, "not tried") {
		t.Errorf("code %d, %s", code, stderr)
	}
}

func interrupt(t *testing.T) {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Signal(os.Interrupt)
	}
	if err != nil {
		t.Error(err)
	}
}
