package tcp

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestDrainTellsHandlers(t *testing.T) {
	r := newRig(t, Config{Handler: func(ctx context.Context, nc net.Conn) {
		_, _ = io.WriteString(nc, "hello ")
		<-ctx.Done()
		_, _ = io.WriteString(nc, context.Cause(ctx).Error())
	}})
	nc := r.dial()
	r.wantHear(nc, "hello ")
	if err := r.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if said, err := io.ReadAll(nc); string(said) != "the server drains" || err != nil {
		t.Errorf("heard %q, %v", said, err)
	}
	if _, err := net.Dial("tcp", r.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}

// TestStopAccepting leaves open connections alone.
func TestStopAccepting(t *testing.T) {
	r := newRig(t, Config{Handler: func(ctx context.Context, nc net.Conn) {
		_, _ = io.WriteString(nc, "hello ")
		b := make([]byte, 1)
		_, _ = nc.Read(b)
		if ctx.Err() == nil {
			_, _ = nc.Write(b)
		}
	}})
	nc := r.dial()
	r.wantHear(nc, "hello ")
	r.StopAccepting()
	if _, err := net.Dial("tcp", r.Addr().String()); err == nil {
		t.Error("it still listens")
	}
	r.wantEcho(nc, "x")
}

// TestBacklog serves those that the kernel has accepted.
func TestBacklog(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	held := &holding{TCPListener: lis.(*net.TCPListener), let: make(chan struct{})}
	r := newRigOn(t, held, Config{Handler: func(_ context.Context, nc net.Conn) { _, _ = io.WriteString(nc, "served") }})
	var waiting []net.Conn
	for range 20 {
		waiting = append(waiting, r.dial())
	}
	stopped := make(chan struct{})
	go func() { defer close(stopped); r.StopAccepting() }()
	<-r.stop
	close(held.let)
	for _, nc := range waiting {
		r.wantHear(nc, "served")
	}
	<-stopped
}

// holding is a listener that does not accept until it is let.
type holding struct {
	*net.TCPListener
	let chan struct{}
}

func (h *holding) Accept() (net.Conn, error) {
	<-h.let
	return h.TCPListener.Accept()
}

func (h *holding) SetDeadline(t time.Time) error {
	if !t.IsZero() {
		t = t.Add(300 * time.Millisecond) // the test, too, takes its time
	}
	return h.TCPListener.SetDeadline(t)
}

func TestCutOff(t *testing.T) {
	server, _ := newTLS(t)
	for _, c := range []struct {
		name string
		cfg  Config
	}{
		{"plain", Config{Handler: echo}},
		{"in the handshake", Config{Handler: echo, TLS: server, OpenTimeout: time.Minute}},
		{"in the header", Config{Handler: echo, ProxyFrom: loopback, OpenTimeout: time.Minute}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, c.cfg)
			one, two := r.dial(), r.dial()
			r.await("both are there", func() bool { return r.Open() == 2 })
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			begun := time.Now()
			err := r.Shutdown(ctx)
			if err == nil || !strings.Contains(err.Error(), "TCP connections of lines were cut off (2): ") {
				t.Fatalf("Shutdown: %v", err)
			}
			if took := time.Since(begun); took < 100*time.Millisecond {
				t.Errorf("it took %v only", took)
			}
			for _, nc := range []net.Conn{one, two} {
				r.wantClosed(nc)
				r.wantLog("connection cut off")
				if peer := nc.LocalAddr().String(); !strings.Contains(err.Error(), peer) || !strings.Contains(r.log.String(), peer) {
					t.Errorf("%s is not named: %v\n%s", peer, err, r.log)
				}
			}
			if again := r.Shutdown(t.Context()); !errors.Is(again, err) {
				t.Errorf("later: %v", again)
			}
		})
	}
}

// TestCutIsSeen: what is cut off does not look as if it had ended.
func TestCutIsSeen(t *testing.T) {
	r := newRig(t, Config{Handler: echo})
	nc := r.dial()
	r.wantEcho(nc, "half of")
	if err := r.Shutdown(over()); err == nil {
		t.Error("Shutdown: no error")
	}
	if _, err := nc.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v, want a reset", err)
	}
}

func TestDeafHandlerIsNamed(t *testing.T) {
	let := make(chan struct{})
	r := newRig(t, Config{Handler: func(context.Context, net.Conn) { <-let }})
	nc := r.dial()
	r.await("it is there", func() bool { return r.Open() == 1 })
	begun := time.Now()
	if err := r.Shutdown(over()); err == nil {
		t.Error("Shutdown: no error")
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	r.wantLog("handler ignores the end of its connection", nc.LocalAddr().String())
	close(let)
}

func TestNamesAreBounded(t *testing.T) {
	r := newRig(t, Config{Handler: echo})
	for range maxNamed + 5 {
		r.dial()
	}
	r.await("all are there", func() bool { return r.Open() == maxNamed+5 })
	if err := r.Shutdown(over()); err == nil || !strings.HasSuffix(err.Error(), "; and 5 more") {
		t.Errorf("Shutdown: %v", err)
	}
}
