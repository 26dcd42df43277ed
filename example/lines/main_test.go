package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/easyopstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLines(t *testing.T) {
	s := easyopstest.StartStandalone(t, nil, easyops.WithTCP("lines", "", answer))
	defer easyops.CloseIdleTCP()
	conn, err := easyops.DialTCP(t.Context(), "lines", s.Client())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	in := bufio.NewScanner(conn)
	for _, line := range []string{"one", "", "three"} {
		fmt.Fprintln(conn, line)
		if !in.Scan() || in.Text() != line {
			t.Errorf("heard %q, %v; want %q", in.Text(), in.Err(), line)
		}
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if !in.Scan() || in.Text() != "the server is draining, connect again" || in.Scan() || in.Err() != nil {
		t.Errorf("at the end: %q, %v", in.Text(), in.Err())
	}
}

// TestSlowReader: a client that does not read what it is answered does not hold up the
// drain.
func TestSlowReader(t *testing.T) {
	s := easyopstest.StartStandalone(t, nil, easyops.WithTCP("lines", "", answer))
	conn, err := net.Dial("tcp", s.TCPAddr("lines").String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	line := []byte(strings.Repeat("x", 32<<10) + "\n")
	for err == nil { // until nothing more goes into it, because the other side does not go on
		_ = conn.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		_, err = conn.Write(line)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := s.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestIdle: who says nothing is not served for ever.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		begun := time.Now()
		answer(t.Context(), server)
		if took := time.Since(begun); took != idle {
			t.Errorf("it ended after %v, want %v", took, idle)
		}
	})
}

// TestProxies: who is named by a proxy that is let, is the client; nothing shows here
// but that the header is not answered.
func TestProxies(t *testing.T) {
	*proxies = "127.0.0.0/8,::1"
	defer func() { *proxies = "" }()
	s, err := start(easyops.WithFlags(nil), easyops.WithRegistry("none"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown(context.Background())
	conn, err := net.Dial("tcp", s.TCPAddr("lines").String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\nhello\n")
	_ = conn.(*net.TCPConn).CloseWrite()
	if said, err := io.ReadAll(conn); string(said) != "hello\n" || err != nil {
		t.Errorf("heard %q, %v", said, err)
	}
}
