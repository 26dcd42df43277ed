package easyops

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
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
