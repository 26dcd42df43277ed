//go:build real

package frontproxies

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
	_ "github.com/go-easyops/easyops/runtime/registry/local" // local: URLs
	"github.com/go-easyops/easyops/test/serve"
)

// list lists an instance that is no server of easyops.
func list(t *testing.T, url, service, addr string, kind registry.Kind) {
	t.Helper()
	reg, err := registry.Open(url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close() })
	lease, err := reg.Register(t.Context(), []registry.Instance{{
		ID: registry.NewID(), Service: service, Addr: addr, Kinds: []registry.Kind{kind}, Health: registry.Ready, Started: time.Now(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lease.Close(context.Background()) })
}

// announced is a listener that says which address the PROXY header of each
// connection names, and by which version.
func announced(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(patience))
				fmt.Fprintln(conn, proxyHeader(bufio.NewReader(conn)))
				_, _ = io.Copy(io.Discard, conn)
			}()
		}
	}()
	return l
}

// proxyHeader reads a header of either version.
func proxyHeader(r *bufio.Reader) string {
	const signature = "\r\n\r\n\x00\r\nQUIT\n"
	first, err := r.Peek(len(signature))
	switch {
	case err != nil:
		return err.Error()
	case string(first) != signature:
		line, _ := r.ReadString('\n')
		if fields := strings.Fields(line); len(fields) == 6 && fields[0] == "PROXY" {
			return "v1 " + fields[2]
		}
		return "no header: " + line
	}
	head := make([]byte, 16)
	if _, err := io.ReadFull(r, head); err != nil {
		return err.Error()
	}
	body := make([]byte, binary.BigEndian.Uint16(head[14:]))
	if _, err := io.ReadFull(r, body); err != nil || len(body) < 12 {
		return fmt.Sprint(len(body), err)
	}
	addr, _ := netip.AddrFromSlice(body[:4])
	return "v2 " + addr.String()
}

// say opens a connection, writes a text, and returns the line that is answered,
// "" where there is none. The connection stays open.
func say(t *testing.T, addr, text string) (line string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return ""
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(conn, text)
	line, _ = bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line)
}

func TestProxyProtocol(t *testing.T) {
	everywhere(t, func(t *testing.T, p proxy) {
		url := newRegistry(t)
		list(t, url, "db", announced(t).Addr().String(), registry.KindTCP)
		f := newFront(t, p, url)
		plain, fair, trusting := serve.FreeAddr(t), serve.FreeAddr(t), serve.FreeAddr(t)
		f.routes(t, `
http: [{service: page, allow: EVERYONE}]
tcp:
  - {listen: "`+plain+`", service: db, proxy_protocol: v2, max_connections: 3, max_connections_per_client: 3}
  - {listen: "`+fair+`", service: db, proxy_protocol: v2, max_connections: 100, max_connections_per_client: 3}
  - {listen: "`+trusting+`", service: db, proxy_protocol: v2, accept_proxy_protocol_from: ["127.0.0.0/8"]}
`)
		f.run(t)
		version := map[string]string{"haproxy": "v2 ", "nginx": "v1 "}[p.name]
		eventually(t, "the client's address", func() error {
			conn, err := net.Dial("tcp", plain)
			if err == nil {
				err = conn.Close()
			}
			return err
		})
		if got := say(t, plain, "hello\r\n"); got != version+"127.0.0.1" {
			t.Errorf("%q, want %s127.0.0.1", got, version)
		}
		if got := say(t, trusting, "PROXY TCP4 9.9.9.9 127.0.0.1 1234 80\r\nhello\r\n"); got != version+"9.9.9.9" {
			t.Errorf("with a header: %q, want %s9.9.9.9", got, version)
		}
		f.testMost(t, plain)
		if got := say(t, fair, "hello\r\n"); got != version+"127.0.0.1" {
			t.Errorf("%q, want %s127.0.0.1", got, version)
		}
		f.testMost(t, fair)
	})
}

// testMost opens more connections than there may be, which are 3; one is open.
func (f *front) testMost(t *testing.T, addr string) {
	t.Helper()
	answered := 0
	for range 4 {
		if got := say(t, addr, "hello\r\n"); got != "" {
			answered++
		}
	}
	if answered != 2 {
		t.Errorf("%d more connections were served, want 2", answered)
	}
}

// TestPlaintext looks at whether a token goes to another machine in plain text.
// This machine's own address is as good as another's.
func TestPlaintext(t *testing.T) {
	l := listenElsewhere(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "token %q", r.Header.Get("Authorization"))
	}))
	_ = server.Listener.Close()
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	everywhere(t, func(t *testing.T, p proxy) {
		url := newRegistry(t)
		list(t, url, "page", l.Addr().String(), registry.KindHTTP)
		for _, c := range []struct {
			want  string
			flags []string
		}{{`token ""`, nil}, {`token "Bearer mine"`, []string{"--insecure-plaintext"}}} {
			f := startFront(t, p, url, c.flags...)
			var got string
			eventually(t, "an answer", func() error {
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+f.addr+"/", nil)
				req.Header.Set("Authorization", "Bearer mine")
				resp, err := f.client(t, false, false).Do(req)
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				text, err := io.ReadAll(resp.Body)
				got = string(text)
				return err
			})
			if got != c.want {
				t.Errorf("%v: %s, want %s", c.flags, got, c.want)
			}
		}
	})
}

func listenElsewhere(t *testing.T) net.Listener {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			if l, err := net.Listen("tcp", net.JoinHostPort(n.IP.String(), "0")); err == nil {
				return l
			}
		}
	}
	t.Skip("this machine has no address but loopback")
	return nil
}
