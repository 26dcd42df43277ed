package easyops_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/easyopstest"
	"github.com/go-easyops/easyops/runtime/registry"
)

// TestNothingIsLeft: a start that failed leaves what it was given as it was.
func TestNothingIsLeft(t *testing.T) {
	r := &watched{}
	url := r.open()
	metrics := prometheus.NewRegistry()
	taken := listen(t)
	for _, opt := range []easyops.ServerOption{
		easyops.WithMetricsAccess("nobody"),
		easyops.WithAddr(taken.Addr().String()),
		easyops.WithStatusAddr(taken.Addr().String()),
		easyops.WithGRPC(grpc.StreamInterceptor(nil), grpc.StreamInterceptor(nil)),
		easyops.WithTLSFiles("/missing/cert", "/missing/key", ""),
	} {
		startFault(t, echoService(), easyops.WithRegistry(url), easyops.WithPrometheus(metrics), opt)
	}
	if conn, err := easyops.Dial("echo.v1.EchoService", apart(easyops.WithRegistry(url), easyops.WithTLSFiles("", "", "/missing/ca"))); err == nil {
		conn.Close()
		t.Error("dialled with authorities that are not there")
	}
	if open := r.opened.Load() - r.closed.Load(); open != 0 {
		t.Errorf("%d of %d registries were left open", open, r.opened.Load())
	}
	easyopstest.Start(t, echoService(), easyops.WithPrometheus(metrics))
}

// TestListenerIsClosed: the server closes the listener that it is given, after
// a start that failed too.
func TestListenerIsClosed(t *testing.T) {
	lis := listen(t)
	startFault(t, echoService(), easyops.WithListener(lis), easyops.WithAuth("mtls"))
	lis.(*net.TCPListener).SetDeadline(time.Now()) // fails where it is closed
	if conn, err := lis.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accepted %v, %v", conn, err)
	}
}

// TestListenerNobodyFinds: a listener without host and port cannot be listed,
// which is no reason to try for ever; with an address to advertise it is.
func TestListenerNobodyFinds(t *testing.T) {
	for _, advertise := range []string{"", "127.0.0.1:4100"} {
		r := &watched{asked: make(chan struct{})}
		unix, err := net.Listen("unix", filepath.Join(shortDir(t), "s"))
		if err != nil {
			t.Fatal(err)
		}
		var l logs
		s := startOff(t, &l, echoService(), easyops.WithAddr(""), easyops.WithListener(unix), easyops.WithAdvertise(advertise), easyops.WithRegistry(r.open()))
		select {
		case <-r.asked:
			if advertise == "" {
				t.Error("it is registered without an address")
			}
		case <-within(t, 300*time.Millisecond).Done():
			if advertise != "" {
				t.Error("it is not registered with its address")
			}
		}
		say(t, dialEcho(t, apart(), easyops.DialTarget("unix:"+s.Addr().String())), "hi")
		if strings.Contains(l.String(), "http:///") {
			t.Errorf("a URL that nobody can open is in the log:\n%s", &l)
		}
	}
}

// TestSharedPrometheus: two servers cannot count in one registry at a time.
func TestSharedPrometheus(t *testing.T) {
	r := prometheus.NewRegistry()
	first := startEcho(t, easyops.WithPrometheus(r))
	err := startFault(t, echoService(), easyops.WithPrometheus(r))
	mustContain(t, err.Error(), "WithPrometheus", "registry of its own")
	say(t, dialEcho(t, first.Client()), "hi")
	if n := started(t, r, "echo.v1.EchoService/Echo"); n != 1 {
		t.Errorf("%v calls were counted in the given registry", n)
	}
	if err := first.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	startEcho(t, easyops.WithPrometheus(r))
}

// started returns how many calls of a method a registry has counted.
func started(t *testing.T, r *prometheus.Registry, method string) (n float64) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "grpc_server_call_started_total" && m.GetLabel()[0].GetValue() == method {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

// watched is a registry that is counted, under a URL of its own.
type watched struct {
	opened, closed, registered atomic.Int32
	asked                      chan struct{} // closed when something is to be registered, unless nil
}

var watchedRegistries atomic.Int32

func (w *watched) open() string {
	scheme := fmt.Sprint("watched-", watchedRegistries.Add(1))
	registry.RegisterDriver(scheme, func(string, *slog.Logger) (registry.Registry, error) {
		w.opened.Add(1)
		return w, nil
	})
	return scheme + ":"
}

func (w *watched) String() string        { return "watched registry" }
func (w *watched) LastAnswer() time.Time { return time.Time{} }
func (w *watched) Close() error          { w.closed.Add(1); return nil }

func (w *watched) Register(context.Context, []registry.Instance) (registry.Lease, error) {
	if w.registered.Add(1) == 1 && w.asked != nil {
		close(w.asked)
	}
	return nil, errors.New("not written down")
}

func (w *watched) Watch(ctx context.Context, _ string, update func([]registry.Instance, error)) {
	update(nil, nil)
	<-ctx.Done()
}
