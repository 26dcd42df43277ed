package edgeattack

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/test/serve"
)

// signature2 begins a header of the PROXY protocol, version 2.
const signature2 = "\r\n\r\n\x00\r\nQUIT\n"

// startBytes is a TCP service that hands over what each connection begins with.
func startBytes(t *testing.T, b *behind) <-chan string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	heard := make(chan string, 16)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(patience))
				all, _ := io.ReadAll(conn)
				heard <- string(all)
			}()
		}
	}()
	b.list(t, "bytes", registry.KindTCP, l.Addr().String())
	return heard
}

// say sends bytes on a connection from loopback, and returns from where.
func say(t *testing.T, addr, sent string) (from *net.TCPAddr) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, sent)
	_ = conn.(*net.TCPConn).CloseWrite()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	_, _ = io.Copy(io.Discard, conn)
	return conn.LocalAddr().(*net.TCPAddr)
}

// TestForgedProxyHeader begins connections with headers of the PROXY protocol. Who
// is not trusted to send them is told from who is: the service hears the address
// that the connection has come from, and the rest as it was sent.
func TestForgedProxyHeader(t *testing.T) {
	t.Parallel()
	keys, _ := newKeys(t)
	b := newBehind(t)
	heard := startBytes(t, b)
	plain, v1, v2, trusting := serve.FreeAddr(t), serve.FreeAddr(t), serve.FreeAddr(t), serve.FreeAddr(t)
	startEdge(t, b, fmt.Sprintf(`
tcp:
  - {listen: %q, service: bytes}
  - {listen: %q, service: bytes, proxy_protocol: v1}
  - {listen: %q, service: bytes, proxy_protocol: v2, accept_proxy_protocol_from: ["192.0.2.0/24"]}
  - {listen: %q, service: bytes, proxy_protocol: v1, accept_proxy_protocol_from: ["127.0.0.1/32"]}
`, plain, v1, v2, trusting), false, keys)

	forged := []string{
		"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\nrest",
		"PROXY UNKNOWN\r\nrest",
		signature2 + "\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x08\x00\x01\x00\x02rest",
		signature2 + "\x20\x00\x00\x00rest",
		"rest",
	}
	for _, sent := range forged {
		say(t, plain, sent)
		if got := receive(t, heard); got != sent {
			t.Errorf("without the PROXY protocol: sent %q, and the service heard %q", sent, got)
		}
		from := say(t, v1, sent)
		line, rest, _ := strings.Cut(receive(t, heard), "\r\n")
		if want := fmt.Sprintf("PROXY TCP4 127.0.0.1 127.0.0.1 %d ", from.Port); !strings.HasPrefix(line, want) || rest != sent {
			t.Errorf("v1: sent %q, and the service heard %q and %q, want %q first", sent, line, rest, want)
		}
		from = say(t, v2, sent)
		got := receive(t, heard)
		if !strings.HasPrefix(got, signature2+"\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01"+string([]byte{byte(from.Port >> 8), byte(from.Port)})) || got[28:] != sent {
			t.Errorf("v2: sent %q, and the service heard %q", sent, got)
		}
	}
	// Who is trusted is believed, and must send a header: the control.
	say(t, trusting, forged[0])
	if got := receive(t, heard); !strings.HasPrefix(got, "PROXY TCP4 192.0.2.7 ") || !strings.HasSuffix(got, "\r\nrest") || strings.Count(got, "PROXY") != 1 {
		t.Errorf("from a trusted peer: the service heard %q", got)
	}
	say(t, trusting, "no header")
	select {
	case got := <-heard:
		if strings.Contains(got, "no header") {
			t.Errorf("a trusted peer without a header: the service heard %q", got)
		}
	case <-time.After(time.Second):
	}
}

func receive(t *testing.T, heard <-chan string) string {
	t.Helper()
	select {
	case s := <-heard:
		return s
	case <-time.After(patience):
		t.Error("the service heard nothing")
		return ""
	}
}

// TestKindsAreKept leads a TCP route to an HTTP service, where it would be a way
// around all that is looked at of requests: the edge finds instances by their kind.
func TestKindsAreKept(t *testing.T) {
	t.Parallel()
	keys, _ := newKeys(t)
	b := newBehind(t)
	addr := serve.FreeAddr(t)
	f, _ := startEdge(t, b, fmt.Sprintf("tcp: [{listen: %q, service: page, connect_timeout: 500ms}]\n", addr), false, keys)
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(conn, "GET /internal/help HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if line, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
		t.Errorf("the answer begins %q", line)
	}
	if raw, _, _ := f.back.take(); raw != "" {
		t.Errorf("the backend was sent %q", raw)
	}
}
