package tcp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestServes(t *testing.T) {
	r := newRig(t, Config{Handler: echo})
	nc := r.dial()
	r.wantEcho(nc, "hello")
	if got, _ := r.Connections(9); len(got) != 1 || got[0].Peer != nc.LocalAddr().String() || got[0].TLS != nil {
		t.Errorf("connections: %+v", got)
	}
	_ = nc.CloseWrite()
	if rest, err := io.ReadAll(nc); len(rest) > 0 || err != nil {
		t.Errorf("after the end: %q, %v", rest, err)
	}
	r.await("the connection is gone", func() bool { return r.Open() == 0 })
	if got, want := r.Stats(), (Stats{Accepted: 1, Received: 5, Sent: 5}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  Config
		why  Refusal
		text string
	}{
		{"all", Config{MaxConns: 2}, TooMany, "too many connections"},
		{"of a client", Config{MaxConnsPerIP: 2}, TooManyOfClient, "too many connections from this client"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Handler = echo
			r := newRig(t, c.cfg)
			one, two := r.dial(), r.dial()
			r.wantEcho(one, "1")
			r.wantEcho(two, "2")
			r.wantClosed(r.dial())
			r.wantClosed(r.dial())
			r.wantLog(c.text, "service=lines")
			if n := r.Refused(c.why); n != 2 {
				t.Errorf("%d refused, want 2", n)
			}
			if n := strings.Count(r.log.String(), "connection refused"); n != 1 {
				t.Errorf("%d lines, want one a second", n)
			}
			one.Close()
			r.await("there is room again", func() bool { return r.Open() == 1 })
			r.wantEcho(r.dial(), "4")
		})
	}
}

func TestPanic(t *testing.T) {
	handler := func(_ context.Context, nc net.Conn) {
		if b, _ := io.ReadAll(io.LimitReader(nc, 1)); string(b) == "!" {
			panic("boom\x1b[2J")
		}
		_, _ = io.WriteString(nc, "fine")
	}
	r := newRig(t, Config{Handler: handler})
	r.wantClosed(r.send("!"))
	r.wantHear(r.send("."), "fine")
	r.wantLog("level=ERROR", `boom?[2J`, "TestPanic.func1")
	if n := r.Stats().Panics; n != 1 {
		t.Errorf("%d panics, want 1", n)
	}
	var told atomic.Value
	r = newRig(t, Config{Handler: handler, Recovered: func(_ context.Context, peer net.Addr, p any) { told.Store(fmt.Sprint(p, " of ", peer)) }})
	nc := r.send("!")
	r.wantClosed(nc)
	r.await("who wants to know is told", func() bool { return told.Load() == "boom\x1b[2J of "+nc.LocalAddr().String() })
	if strings.Contains(r.log.String(), "panic") {
		t.Errorf("it is logged too:\n%s", r.log)
	}
}

func TestTLS(t *testing.T) {
	server, client := newTLS(t)
	r := newRig(t, Config{Handler: tellPeer, TLS: server, OpenTimeout: 200 * time.Millisecond})
	nc := tls.Client(r.dial(), client)
	r.wantHear(nc, nc.LocalAddr().String()+"\n")
	r.wantEcho(nc, "secret")
	time.Sleep(300 * time.Millisecond) // the handshake's deadline is not the connection's
	r.wantEcho(nc, "still")
	if got, _ := r.Connections(9); len(got) != 1 || got[0].TLS == nil || got[0].TLS.Version != tls.VersionTLS13 {
		t.Errorf("connections: %+v", got)
	}
	_ = nc.CloseWrite()
	if rest, err := io.ReadAll(nc); len(rest) > 0 || err != nil {
		t.Errorf("after the end: %q, %v; want an end that is said", rest, err)
	}
	r.wantClosed(r.dial()) // says nothing
	plain := r.send("GET / HTTP/1.0\r\n\r\n")
	_, _ = io.Copy(io.Discard, plain)
	r.await("both are refused", func() bool { return r.Refused(BadHandshake) == 2 })
	r.wantLog("TLS handshake failed")
}

func TestAdmit(t *testing.T) {
	type key struct{}
	server, client := newTLS(t)
	var deny atomic.Bool
	r := newRig(t, Config{
		TLS: server,
		Admit: func(ctx context.Context, state *tls.ConnectionState) (context.Context, error) {
			if deny.Load() {
				return nil, errors.New("not you")
			}
			return context.WithValue(ctx, key{}, state.ServerName), nil
		},
		Handler: func(ctx context.Context, nc net.Conn) { _, _ = io.WriteString(nc, ctx.Value(key{}).(string)) },
	})
	r.wantHear(tls.Client(r.dial(), client), "lines")
	deny.Store(true)
	nc := tls.Client(r.dial(), client)
	if n, err := nc.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Errorf("read %d bytes, %v; want nothing", n, err)
	}
	r.await("it is counted", func() bool { return r.Refused(NotAdmitted) == 1 })
	r.wantLog("the access rule does not let it in", "not you")
}

// failing is a listener whose Accept fails as often as there are errors.
type failing struct {
	net.Listener
	errs chan error
}

func (f failing) Accept() (net.Conn, error) {
	select {
	case err := <-f.errs:
		return nil, err
	default:
		return f.Listener.Accept()
	}
}

type passing struct{}

func (passing) Error() string   { return "too many open files" }
func (passing) Temporary() bool { return true }

func TestAcceptErrors(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := failing{lis, make(chan error, 3)}
	f.errs <- passing{}
	f.errs <- passing{}
	r := newRigOn(t, f, Config{Handler: echo})
	r.wantEcho(r.dial(), "on it goes")
	r.wantLog("accept failed, trying again", "delay=10ms")

	lis, err = net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(lis, Config{Handler: echo})
	lis.Close() // by somebody else
	if err := s.Serve(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v, want the listener's error", err)
	}
	if err := s.Serve(); err == nil {
		t.Error("Serve can be called twice")
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

func TestNeverServed(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(lis, Config{Handler: echo})
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := lis.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v, want it closed", err)
	}
}

// TestRefusals: each reason has a word of its own, in metrics and in the log.
func TestRefusals(t *testing.T) {
	seen := map[string]bool{}
	for _, why := range append(Refusals(), numRefusals) {
		for _, text := range []string{why.String(), why.text()} {
			if seen[text] && why != numRefusals {
				t.Errorf("%q is said of two reasons", text)
			}
			seen[text] = true
		}
	}
	if n := len(Refusals()); n != int(numRefusals) {
		t.Errorf("%d reasons, want %d", n, numRefusals)
	}
}
