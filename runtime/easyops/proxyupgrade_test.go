package easyops_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/easyopstest"
)

// saysBye is a backend that has said all at once, and listens on; what it hears is sent
// to heard.
func saysBye(t *testing.T) (*url.URL, <-chan string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	heard := make(chan string, 1)
	go func() {
		defer close(heard)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		r := bufio.NewReader(c)
		if _, err := http.ReadRequest(r); err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\nbye")
		_ = c.(*net.TCPConn).CloseWrite()
		b, _ := io.ReadAll(r)
		heard <- string(b)
	}()
	return &url.URL{Scheme: "http", Host: l.Addr().String()}, heard
}

// TestHalfClosedUpgrades: what one side has ended goes on in the other direction, also
// where the connection ends with the identity of its caller.
func TestHalfClosedUpgrades(t *testing.T) {
	for name, rule := range map[string]auth.Access{"everyone": {Allow: auth.Everyone}, "authenticated": {}} {
		t.Run(name, func(t *testing.T) {
			backend, heard := saysBye(t)
			s := easyopstest.Start(t, nil, easyops.WithProxy(fixedRoutes{{Name: "all", Access: rule, HTTP: httputil.NewSingleHostReverseProxy(backend)}}))
			c, err := net.Dial("tcp", s.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			fmt.Fprintf(c, "GET /x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n", easyopstest.UserToken("alice"))
			r := bufio.NewReader(c)
			resp, err := http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
				t.Fatal(resp, err)
			}
			defer resp.Body.Close()
			if b, err := io.ReadAll(r); string(b) != "bye" || err != nil {
				t.Errorf("got %q, %v", b, err)
			}
			_, err = io.WriteString(c, "and the rest")
			_ = c.(*net.TCPConn).CloseWrite()
			if got := <-heard; got != "and the rest" {
				t.Errorf("the backend heard %q; write: %v", got, err)
			}
		})
	}
}
