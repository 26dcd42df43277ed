package easyops

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func listenLocally(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestStatusListener: the pages are on the listener, and it ends with the server.
func TestStatusListener(t *testing.T) {
	l := listenLocally(t)
	s := NewServer(WithFlags(nil), WithRegistry("none"), WithAddr("127.0.0.1:0"), WithStatusListener(l),
		WithHTTP("/", http.NotFoundHandler()))
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("http://" + l.Addr().String() + "/internal/help")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Error(resp.Status)
	}
	select {
	case <-s.Draining():
		t.Error("it drains before it is told to")
	default:
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	<-s.Draining()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the stop: %v", err)
	}
}

// TestStatusListenerNotNeeded: one that another option has replaced, or that has no
// pages, is closed all the same; the last option counts.
func TestStatusListenerNotNeeded(t *testing.T) {
	other := listenLocally(t)
	for name, c := range map[string]struct {
		option ServerOption
		at     string // where the pages are
	}{
		"without pages":    {WithoutStatus(), ""},
		"another address":  {WithStatusAddr("127.0.0.1:0"), "127.0.0.1:"},
		"another listener": {WithStatusListener(other), other.Addr().String()},
		"back at the port": {WithStatusAddr(""), ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := listenLocally(t)
			s := NewServer(WithFlags(nil), WithRegistry("none"), WithAddr("127.0.0.1:0"), WithStatusListener(l), c.option,
				WithHTTP("/x", http.NotFoundHandler()))
			if err := s.Start(); err != nil {
				t.Fatal(err)
			}
			defer s.Shutdown(t.Context())
			_ = l.(*net.TCPListener).SetDeadline(time.Now())
			if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("while the server serves: %v", err)
			}
			at := ""
			if s.statusLis != nil {
				at = s.statusLis.Addr().String()
			}
			if !strings.HasPrefix(at, c.at) || (at == "") != (c.at == "") || at == l.Addr().String() {
				t.Errorf("the pages are at %q", at)
			}
		})
	}
}

// TestServerDraining: it closes when the drain begins, and not while the drain delay
// lasts.
func TestServerDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(WithFlags(nil), WithRegistry("none"), WithListener(listenInMemory()), WithDrainDelay(10*time.Second),
			WithHTTP("/", http.NotFoundHandler()))
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- s.Shutdown(t.Context()) }()
		drains := func() bool {
			synctest.Wait()
			select {
			case <-s.Draining():
				return true
			default:
				return false
			}
		}
		time.Sleep(10*time.Second - 1)
		if drains() {
			t.Error("it drains before the delay is over")
		}
		time.Sleep(time.Second)
		if !drains() {
			t.Error("it does not drain")
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestStatusListenerOfFailedStart: it is closed, whatever comes.
func TestStatusListenerOfFailedStart(t *testing.T) {
	l := listenLocally(t)
	err := NewServer(WithFlags(nil), WithRegistry("none"), WithAddr("nonsense"), WithStatusListener(l)).Start()
	if err == nil {
		t.Fatal("it starts")
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	err = NewServer(WithFlags(nil), WithStatusListener(nil)).Start()
	if err == nil || !strings.Contains(err.Error(), "WithStatusListener: the listener is nil") {
		t.Error(err)
	}
}
