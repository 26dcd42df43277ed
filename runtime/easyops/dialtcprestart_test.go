package easyops_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// startLines serves lines as a program does.
func startLines(t *testing.T, name string, opts ...easyops.ServerOption) *easyops.Server {
	t.Helper()
	handle := func(_ context.Context, conn net.Conn) {
		_, _ = io.WriteString(conn, name+"\n")
		_, _ = io.Copy(conn, conn)
	}
	s, err := easyops.Start(nil, append([]easyops.ServerOption{apart(), easyops.WithTCP(linesName, "127.0.0.1:0", handle)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Shutdown(context.Background()) })
	return s
}

// talk connects, says something and hears it.
func talk(ctx context.Context, opts ...easyops.DialOption) error {
	conn, err := easyops.DialTCP(ctx, linesName, opts...)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "hi\n"); err != nil {
		return err
	}
	heard := make([]byte, len("a\nhi\n"))
	_, err = io.ReadFull(conn, heard)
	return err
}

// TestDialTCPRollingRestart: while the servers of a service are replaced one by one,
// no connection fails. Where they just end, some do, or the test is blind.
func TestDialTCPRollingRestart(t *testing.T) {
	idle(t)
	for _, drain := range []bool{true, false} {
		dir := easyops.WithRegistry("local:" + shortDir(t))
		opts := []easyops.ServerOption{dir, easyops.WithDrainDelay(200 * time.Millisecond)}
		if !drain {
			opts = []easyops.ServerOption{dir, easyops.WithDrainDelay(0), easyops.WithoutRegistration()}
		}
		servers := []*easyops.Server{startLines(t, "a", opts...), startLines(t, "a", opts...)}
		client := []easyops.DialOption{apart(dir)}
		if !drain { // it knows of one address and of no other
			client = append(client, easyops.DialTarget(servers[0].TCPAddr(linesName).String()))
		}
		var good, bad atomic.Int32
		var first atomic.Pointer[error]
		ctx, cancel := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() {
				for ctx.Err() == nil {
					if err := talk(within(t, 10*time.Second), client...); err != nil {
						bad.Add(1)
						first.CompareAndSwap(nil, &err)
					} else {
						good.Add(1)
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		for end := time.Now().Add(10 * time.Second); good.Load() == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		}
		for n := range 3 {
			next := startLines(t, "a", opts...)
			<-next.Ready()
			if err := servers[n%2].Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			servers[n%2] = next
		}
		cancel()
		callers.Wait()
		if good.Load() == 0 || drain != (bad.Load() == 0) {
			t.Errorf("drain %v: %d connections, %d failed", drain, good.Load(), bad.Load())
			if err := first.Load(); err != nil {
				t.Error(*err)
			}
		}
	}
}

// TestDialTCPRestartInPlace: where the only server is replaced by one that comes after
// it, connections wait.
func TestDialTCPRestartInPlace(t *testing.T) {
	idle(t)
	dir := easyops.WithRegistry("local:" + shortDir(t))
	client := apart(dir)
	s := startLines(t, "a", dir)
	if err := talk(within(t, 10*time.Second), client); err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	connected := make(chan error, 1)
	go func() { connected <- talk(within(t, 10*time.Second), client) }()
	select {
	case err := <-connected:
		t.Errorf("it did not wait: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	startLines(t, "b", dir)
	if err := <-connected; err != nil {
		t.Error(err)
	}
}

// TestDialTLSServer: a server's own certificate names the service, and the service may
// ask for ours.
func TestDialTLSServer(t *testing.T) {
	idle(t)
	ca := newAuthority(t)
	cert, key := ca.filesFor(t, dns("lines", "echo.v1.EchoService"))
	dir := easyops.WithRegistry("local:" + shortDir(t))
	who := make(chan string, 1)
	handle := func(ctx context.Context, _ net.Conn) { who <- auth.Service(ctx).Name }
	s, err := easyops.Start(nil, apart(dir, easyops.WithTLSFiles(cert, key, ca.file)), easyops.WithAuth("mtls"), easyops.WithDrainDelay(0),
		easyops.WithTCP(linesName, "127.0.0.1:0", handle, easyops.TCPTLS(auth.Access{Allow: auth.Services})))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown(context.Background())
	own, ownKey := ca.filesFor(t, dns("caller"))
	conn, err := easyops.DialTCP(within(t, 10*time.Second), linesName, apart(dir, easyops.WithTLSFiles(own, ownKey, ca.file)), easyops.DialTLS())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the handler's end: %v", err)
	}
	if got := <-who; got != "caller" {
		t.Errorf("the service was called by %q", got)
	}
}
