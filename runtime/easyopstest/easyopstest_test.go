package easyopstest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/easyopstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers, and says who it is where it has a name.
type echo struct {
	echov1.UnimplementedEchoServiceServer
	name string
}

func (e echo) Echo(_ context.Context, req *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	return &echov1.EchoResponse{Message: e.name + req.GetMessage()}, nil
}

func services(name string) []easyops.Service {
	return []easyops.Service{echov1.BindEchoServiceServer(echo{name: name})}
}

func call(t *testing.T, s *easyopstest.Server) string {
	t.Helper()
	client, conn, err := echov1.DialEchoService(s.Client(), easyopstest.AsUser("alice"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	resp, err := client.Echo(ctx, &echov1.EchoRequest{Message: "hi"})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetMessage()
}

// TestApart: the client of a server finds that one alone, however many serve.
func TestApart(t *testing.T) {
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			name := t.Name()
			s := easyopstest.Start(t, services(name))
			for range 10 {
				if got := call(t, s); got != name+"hi" {
					t.Errorf("%s answered", got)
				}
			}
		})
	}
}

// TestIgnoresSettings: neither flags nor environment reach the server or its
// client; options do.
func TestIgnoresSettings(t *testing.T) {
	for _, name := range []string{"ADDR", "REGISTRY", "AUTH", "TLS_CERT", "TLS_CA", "LOG_LEVEL", "DRAIN_DELAY"} {
		t.Setenv("EASYOPS_"+name, "wrong")
	}
	var ready sync.WaitGroup
	ready.Add(1)
	s := easyopstest.Start(t, services(""), easyops.WithOnReady(func(*easyops.Server) { ready.Done() }))
	ready.Wait()
	if got := call(t, s); got != "hi" {
		t.Errorf("heard %q", got)
	}
}

// TestShutDownBefore: a test may stop its server itself.
func TestShutDownBefore(t *testing.T) {
	s := easyopstest.Start(t, services(""))
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestLongNames: a test's name does not end up in the path of a socket.
func TestLongNames(t *testing.T) {
	t.Run(strings.Repeat("long", 50), func(t *testing.T) { call(t, easyopstest.Start(t, services(""))) })
}

// TestNothingIsLeft: the directory goes with the server.
func TestNothingIsLeft(t *testing.T) {
	dir, err := os.MkdirTemp("", "e-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	t.Setenv("TMPDIR", dir)
	t.Run("server", func(t *testing.T) { call(t, easyopstest.Start(t, services(""))) })
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// failing is a test that is watched as it fails.
type failing struct {
	testing.TB
	mu       sync.Mutex
	errs     []string
	cleanups []func()
}

func (f *failing) Cleanup(c func()) { f.cleanups = append(f.cleanups, c) }

func (f *failing) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errs = append(f.errs, fmt.Sprintf(format, args...))
}

var errFatal = errors.New("fatal")

func (f *failing) Fatal(args ...any) {
	f.Errorf("%s", fmt.Sprint(args...))
	panic(errFatal)
}

// run runs what ought to fail, with its cleanup.
func (f *failing) run(test func()) {
	defer func() {
		if p := recover(); p != nil && p != any(errFatal) {
			panic(p)
		}
		for i := len(f.cleanups) - 1; i >= 0; i-- {
			f.cleanups[i]()
		}
	}()
	test()
}

// TestFails: a server that cannot be started, or that does not end as it
// should, fails the test.
func TestFails(t *testing.T) {
	for name, test := range map[string]struct {
		services []easyops.Service
		opt      easyops.ServerOption
		want     string
	}{
		"start": {nil, nil, "nothing to serve"},
		"stop":  {services(""), easyops.WithOnStop("mine", func(context.Context) error { return errors.New("not closed") }), "not closed"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &failing{TB: t}
			f.run(func() { easyopstest.Start(f, test.services, test.opt) })
			if len(f.errs) != 1 || !strings.Contains(f.errs[0], test.want) {
				t.Errorf("the test failed by %q, want %q", f.errs, test.want)
			}
		})
	}
}

// TestServer shows the whole use in a test of one's own.
func TestServer(t *testing.T) {
	s := easyopstest.Start(t, services(""))
	client, conn, err := echov1.DialEchoService(s.Client(), easyopstest.AsUser("alice", "staff"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	resp, err := client.Echo(t.Context(), &echov1.EchoRequest{Message: "hi"})
	if err != nil || resp.GetMessage() != "hi" {
		t.Errorf("%v, %v", resp, err)
	}
}
