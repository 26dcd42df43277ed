package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/test/serve"
)

// TestPlanted lists servers by hand that cannot prove that they may serve echo.
// They get no call and no token, and the others serve. The control can prove it.
func TestPlanted(t *testing.T) {
	t.Parallel()
	c, a := startEtcd(t, 1), newAuthority(t)
	good := a.flags(a.issue(t, "echo", service))
	running := c.startEchoes(t, 2, good...)
	stranger := newAuthority(t)
	planted := map[string]*trap{
		"no TLS":              startTrap(t, nil),
		"another authority":   startTrap(t, keyPair(t, stranger.issue(t, "echo", service))),
		"for another service": startTrap(t, keyPair(t, a.issue(t, "billing", "billing.v1.BillingService"))),
		"a name only":         startTrap(t, keyPair(t, a.issue(t, "caller"))),
	}
	id := 'a'
	for _, trap := range planted {
		c.put(t, string(id), trap.addr())
		id++
	}

	token := a.token(t, "alice")
	client := dialEcho(t, c.dial(), a.issue(t, "edge").option())
	at := callsByPeer(t, client, token, personal)
	for name, trap := range planted {
		eventually(t, patience, "connection to the one with "+name, func() bool { return trap.connections() > 0 })
		if n := trap.said(); n > 0 {
			t.Errorf("%s: %d bytes reached it", name, n)
		}
		if trap.heard(token) || trap.heard("Bearer") {
			t.Errorf("%s: a token reached it", name)
		}
		if at[trap.addr()] > 0 {
			t.Errorf("%s: %d calls reached it", name, at[trap.addr()])
		}
	}
	for _, s := range running {
		if at[s.Addr] == 0 {
			t.Errorf("of %v none reached %s", at, s.Addr)
		}
	}

	control := serve.Start(t, append(good, "-easyops.registry=none")...)
	c.put(t, "control", control.Addr)
	eventually(t, patience, "call of the control", func() bool {
		return callsByPeer(t, client, token, 20)[control.Addr] > 0
	})
}

// callsByPeer makes calls of a user and counts where they went.
func callsByPeer(t *testing.T, client echov1.EchoServiceClient, token string, n int) map[string]int {
	t.Helper()
	at := map[string]int{}
	for range n {
		var peer peer.Peer
		ctx, cancel := context.WithTimeout(auth.WithUserToken(t.Context(), token), deadline)
		_, err := client.Echo(ctx, &echov1.EchoRequest{}, grpc.Peer(&peer))
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		at[peer.Addr.String()]++
	}
	return at
}

func keyPair(t *testing.T, c certificate) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}, ClientAuth: tls.RequestClientCert}
}

// trap listens, with TLS or without, and keeps all that it hears: raw, and what
// is said behind the handshake.
type trap struct {
	listener net.Listener
	config   *tls.Config
	wg       sync.WaitGroup

	mu       sync.Mutex
	open     []net.Conn
	raw, app bytes.Buffer
}

func startTrap(t *testing.T, config *tls.Config) *trap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	trap := &trap{listener: l, config: config}
	trap.wg.Go(trap.accept)
	t.Cleanup(func() {
		l.Close()
		trap.mu.Lock()
		for _, c := range trap.open {
			c.Close()
		}
		trap.mu.Unlock()
		trap.wg.Wait()
	})
	return trap
}

func (p *trap) addr() string { return p.listener.Addr().String() }

func (p *trap) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.open = append(p.open, conn)
		p.mu.Unlock()
		p.wg.Go(func() { p.serve(conn) })
	}
}

func (p *trap) serve(conn net.Conn) {
	defer conn.Close()
	heard := recorded{conn, func(b []byte) { p.keep(&p.raw, b) }}
	var behind net.Conn = heard
	if p.config != nil {
		behind = tls.Server(heard, p.config)
	}
	for buffer := make([]byte, 4096); ; {
		n, err := behind.Read(buffer)
		if p.config != nil {
			p.keep(&p.app, buffer[:n])
		}
		if err != nil {
			return
		}
	}
}

func (p *trap) keep(in *bytes.Buffer, b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	in.Write(b)
}

func (p *trap) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open)
}

// said is how many bytes came behind a TLS handshake.
func (p *trap) said() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.app.Len()
}

func (p *trap) heard(text string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Contains(p.raw.String(), text) || strings.Contains(p.app.String(), text)
}

// recorded is a connection of which all that is read is kept.
type recorded struct {
	net.Conn
	keep func([]byte)
}

func (r recorded) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.keep(b[:n])
	return n, err
}
