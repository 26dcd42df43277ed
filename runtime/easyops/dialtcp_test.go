package easyops_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/routing"
)

const linesName = "lines"

// lines is a TCP service without a server of ours around it, which says its name to
// who connects and then what it is told.
type lines struct {
	net.Listener
	accepted atomic.Int32
}

// serveLines listens; with a configuration it speaks TLS.
func serveLines(t *testing.T, name string, secure *tls.Config) *lines {
	t.Helper()
	l := &lines{Listener: listen(t)}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			l.accepted.Add(1)
			if secure != nil {
				conn = tls.Server(conn, secure)
			}
			all.Go(func() {
				defer conn.Close()
				_, _ = io.WriteString(conn, name+"\n")
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return l
}

// list lists instances of lines in a local registry, as a server does, until they are
// replaced or the test ends.
func list(t *testing.T, dir string, instances ...registry.Instance) registry.Lease {
	t.Helper()
	r, err := registry.Open("local:"+dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	lease, err := r.Register(t.Context(), instances)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(lease.Close(context.Background()), r.Close()); err != nil {
			t.Error(err)
		}
	})
	return lease
}

func (l *lines) instance(id string, health registry.Health) registry.Instance {
	return registry.Instance{
		ID: id, Service: linesName, Addr: l.Addr().String(), Kinds: []registry.Kind{registry.KindTCP},
		Health: health, Started: time.Now(),
	}
}

// dialLines connects and returns what the instance says it is.
func dialLines(t *testing.T, opts ...easyops.DialOption) string {
	t.Helper()
	conn, err := easyops.DialTCP(within(t, 10*time.Second), linesName, opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return greeting(t, conn)
}

func greeting(t *testing.T, conn net.Conn) string {
	t.Helper()
	name := make([]byte, 2)
	if _, err := io.ReadFull(conn, name); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(name))
}

// idle ends the pools with the test, which looks for goroutines.
func idle(t *testing.T) { t.Cleanup(easyops.CloseIdleTCP) }

// TestDialTCP: instances of the registry are found, balanced, and left when they stop.
func TestDialTCP(t *testing.T) {
	idle(t)
	dir := shortDir(t)
	a, b := serveLines(t, "a", nil), serveLines(t, "b", nil)
	client := apart(easyops.WithRegistry("local:" + dir))
	leaseA := list(t, dir, a.instance("a", registry.Ready))
	list(t, dir, b.instance("b", registry.Ready))
	heard := map[string]int{}
	for deadline := time.Now().Add(10 * time.Second); len(heard) < 2 && time.Now().Before(deadline); {
		heard[dialLines(t, client)]++
	}
	if heard["a"] == 0 || heard["b"] == 0 {
		t.Fatalf("heard %v", heard)
	}
	if err := leaseA.Update(t.Context(), []registry.Instance{a.instance("a", registry.Stopping)}); err != nil {
		t.Fatal(err)
	}
	for last := 0; last < 30; { // once the watch has told
		last++
		if dialLines(t, client) == "a" {
			last = 0
		}
	}
	b.Close()
	if got := dialLines(t, client); got != "a" {
		t.Errorf("%s although only a is left, which stops", got)
	}
}

// TestDialTCPWaits: for an instance that comes later.
func TestDialTCPWaits(t *testing.T) {
	idle(t)
	dir := shortDir(t)
	dialled := make(chan error, 1)
	go func() {
		conn, err := easyops.DialTCP(within(t, 10*time.Second), linesName, apart(easyops.WithRegistry("local:"+dir)))
		if err == nil {
			err = conn.Close()
		}
		dialled <- err
	}()
	select {
	case err := <-dialled:
		t.Errorf("it did not wait: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	a := serveLines(t, "a", nil)
	list(t, dir, a.instance("a", registry.Ready))
	if err := <-dialled; err != nil {
		t.Error(err)
	}
}

// TestDialTCPNoInstance: the error names the service and the registry.
func TestDialTCPNoInstance(t *testing.T) {
	idle(t)
	dir := shortDir(t)
	dead := serveLines(t, "a", nil)
	dead.Close()
	grpcOnly := dead.instance("a", registry.Ready)
	grpcOnly.Kinds = []registry.Kind{registry.KindGRPC}
	for name, test := range map[string]struct {
		listed []registry.Instance
		want   []string
	}{
		"none":       {nil, []string{"lists no instance"}},
		"other kind": {[]registry.Instance{grpcOnly}, []string{"1 not of kind tcp"}},
		"dead":       {[]registry.Instance{dead.instance("a", registry.Ready)}, []string{"lists 1, 1 READY", "refused", dead.Addr().String()}},
	} {
		t.Run(name, func(t *testing.T) {
			if test.listed != nil {
				list(t, dir, test.listed...)
			}
			conn, err := easyops.DialTCP(within(t, 300*time.Millisecond), linesName, apart(easyops.WithRegistry("local:"+dir)))
			if err == nil {
				conn.Close()
				t.Fatal("connected")
			}
			mustContain(t, err.Error(), append(test.want, "easyops: dial lines", dir, "deadline exceeded")...)
			var none *routing.NoInstanceError
			if !errors.As(err, &none) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a %T", err)
			}
		})
	}
}

// TestDialTCPTarget: the registry is not asked, and nothing is waited for.
func TestDialTCPTarget(t *testing.T) {
	idle(t)
	a := serveLines(t, "a", nil)
	for _, scheme := range []string{"", "dns:///", "passthrough:///"} {
		if got := dialLines(t, apart(), easyops.DialTarget(scheme+a.Addr().String())); got != "a" {
			t.Errorf("heard %q", got)
		}
	}
	a.Close()
	start := time.Now()
	_, err := easyops.DialTCP(t.Context(), linesName, apart(), easyops.DialTarget(a.Addr().String()))
	if err == nil {
		t.Fatal("connected")
	}
	mustContain(t, err.Error(), linesName, "target "+a.Addr().String(), "refused")
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestDialTCPFaults: all at once, with the service's name.
func TestDialTCPFaults(t *testing.T) {
	idle(t)
	local := easyops.WithRegistry("local:" + shortDir(t))
	for name, test := range map[string]struct {
		service string
		opts    []easyops.DialOption
		want    []string
	}{
		"no registry": {linesName, nil, []string{"-easyops.registry", "none", "DialTarget"}},
		"bad service": {"a/b", []easyops.DialOption{local}, []string{"a/b"}},
		"gRPC":        {linesName, []easyops.DialOption{local, easyops.DialGRPC(grpc.WithUserAgent("x")), easyops.DialForwardUser()}, []string{"DialGRPC", "DialForwardUser"}},
		"tokens":      {linesName, []easyops.DialOption{easyops.DialUserToken(func(context.Context) (string, error) { return "", nil })}, []string{"DialUserToken", "-easyops.registry"}},
		"subset":      {linesName, []easyops.DialOption{local, easyops.DialSubset(3)}, []string{"DialSubset"}},
		"no trust":    {linesName, []easyops.DialOption{local, easyops.DialTLS()}, []string{"DialTLS", "-easyops.tls-ca"}},
		"no TLS":      {linesName, []easyops.DialOption{local, easyops.DialServerID("lines")}, []string{"DialServerID", "DialTLS"}},
		"files":       {linesName, []easyops.DialOption{local, easyops.DialTLS(), easyops.WithTLSFiles("", "", "/missing")}, []string{"/missing"}},
		"unix target": {linesName, []easyops.DialOption{easyops.DialTarget("unix:///tmp/x")}, []string{"unix:///tmp/x", "host:port"}},
		"no port":     {linesName, []easyops.DialOption{easyops.DialTarget("localhost")}, []string{"localhost", "host:port"}},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := easyops.DialTCP(t.Context(), test.service, append([]easyops.DialOption{apart()}, test.opts...)...)
			if err == nil {
				conn.Close()
				t.Fatal("connected")
			}
			mustContain(t, err.Error(), append(test.want, "easyops: dial "+test.service)...)
		})
	}
	_, err := easyops.Dial(echoName, apart(local), easyops.DialTLS())
	if err == nil {
		t.Fatal("dialled")
	}
	mustContain(t, err.Error(), "DialTLS", "DialTCP")
}

// TestDialTCPShares: calls with the same settings share what they know, and the
// registry is watched once, until that is not needed any more.
func TestDialTCPShares(t *testing.T) {
	idle(t)
	dir, reg := shortDir(t), &counted{}
	a := serveLines(t, "a", nil)
	list(t, dir, a.instance("a", registry.Ready))
	client := apart(easyops.WithRegistry(reg.open(dir)))
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { dialLines(t, client) })
	}
	all.Wait()
	if o, w := reg.opened.Load(), reg.watches.Load(); o != 1 || w != 1 {
		t.Errorf("%d registries were opened and watched %d times", o, w)
	}
	open, err := easyops.DialTCP(t.Context(), linesName, client)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	easyops.CloseIdleTCP()
	easyops.CloseIdleTCP()
	if c, w := reg.closed.Load(), reg.watching.Load(); c != 1 || w != 0 {
		t.Errorf("%d registries were closed, %d are being watched", c, w)
	}
	if got := greeting(t, open); got != "a" {
		t.Errorf("heard %q by a connection that was open", got)
	}
	dialLines(t, client)
	if o := reg.opened.Load(); o != 2 {
		t.Errorf("%d registries were opened", o)
	}
}
