package port_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/peer"

	"github.com/go-easyops/easyops/runtime/port"
)

// only returns the one connection there is.
func (n *node) only(t *testing.T) port.Open {
	t.Helper()
	open, total := n.List(10)
	if len(open) != 1 || total != 1 {
		t.Fatalf("%d connections of %d, want one: %+v", len(open), total, open)
	}
	return open[0]
}

// counted makes calls that are noted as their handlers see them.
func counted(n *node) {
	n.echo.seen = func(ctx context.Context) {
		u := n.UseOf(ctx)
		u.Begin()
		u.By(&alice, nil)
		u.End()
	}
}

var alice, shop, nobody = "alice", "shop", ""

// A connection is listed with what it speaks, its bytes on the wire and the calls
// that came by it, as long as it is open.
func TestList(t *testing.T) {
	const size = 10_000
	body := strings.Repeat("x", size)
	get := func(rt http.RoundTripper, scheme string) func(*testing.T, *node) {
		return func(t *testing.T, n *node) {
			req, err := http.NewRequestWithContext(timeout(t), http.MethodPost, scheme+"://"+n.addr+"/back", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			res, err := rt.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if got, err := io.ReadAll(res.Body); len(got) != size || err != nil {
				t.Fatal(len(got), err)
			}
		}
	}
	unary := func(cfg *tls.Config) func(*testing.T, *node) {
		return func(t *testing.T, n *node) { call(t, dial(t, n.addr, cfg), body) }
	}
	mixed := func(c *port.Config, _ *http.Server) { c.AllHTTP2ToHTTP = true }
	for _, tc := range []struct {
		name, protocol string
		opts           []nodeOption
		use            func(*testing.T, *node)
	}{
		{"gRPC", "gRPC", nil, unary(nil)},
		{"gRPC, TLS", "gRPC", []nodeOption{secure}, unary(clientTLS("h2"))},
		{"gRPC by net/http", "HTTP/2", []nodeOption{mixed}, unary(nil)},
		{"HTTP/1", "HTTP/1", nil, get(transport(t, nil, http1), "http")},
		{"HTTP/1, TLS", "HTTP/1", []nodeOption{secure}, get(transport(t, clientTLS(), http1), "https")},
		{"HTTP/2", "HTTP/2", nil, get(transport(t, nil, h2c), "http")},
		{"HTTP/2, TLS", "HTTP/2", []nodeOption{secure}, get(transport(t, clientTLS(), http2), "https")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := start(t, tc.opts...)
			counted(n)
			begun := time.Now()
			tc.use(t, n)
			var o port.Open
			eventually(t, func() bool { o = n.only(t); return o.Sent > size })
			if o.Protocol != tc.protocol || !strings.HasPrefix(o.Peer, "127.0.0.1:") || o.Since.Before(begun) || o.Since.After(time.Now()) {
				t.Errorf("%+v", o)
			}
			if secured := strings.HasSuffix(tc.name, "TLS"); secured != (o.TLS != nil) || secured && o.TLS.Version != tls.VersionTLS13 {
				t.Errorf("TLS: %+v", o.TLS)
			}
			// Headers, frames and, with TLS, the certificates come on top.
			for what, got := range map[string]uint64{"received": o.Received, "sent": o.Sent} {
				if got < size || got > size+6000 {
					t.Errorf("%s %d bytes, want some more than %d", what, got, size)
				}
			}
			user, service := o.Use.Caller()
			if o.Use.Calls() != 1 || o.Use.InFlight() != 0 || user != "alice" || service != "" {
				t.Errorf("use: %d calls, %d in flight, %q, %q", o.Use.Calls(), o.Use.InFlight(), user, service)
			}
			o.Use.Close()
			eventually(t, func() bool { open, total := n.List(10); return len(open) == 0 && total == 0 })
		})
	}
}

// A connection that has not begun is listed too, and the oldest come first where
// there are more than may be.
func TestListIsBounded(t *testing.T) {
	n := start(t)
	var conns []net.Conn
	for i := range 5 {
		conns = append(conns, rawDial(t, n.addr))
		eventually(t, func() bool { return n.Conns().Open == i+1 })
	}
	open, total := n.List(3)
	if total != 5 || len(open) != 3 {
		t.Fatalf("%d of %d connections", len(open), total)
	}
	for i, o := range open {
		if o.Peer != conns[i].LocalAddr().String() || o.Protocol != "new" || o.TLS != nil {
			t.Errorf("%d: %+v", i, o)
		}
	}
	if !slices.IsSortedFunc(open, func(a, b port.Open) int { return a.Since.Compare(b.Since) }) {
		t.Error("not by age")
	}
}

// Calls find the use of their own connection among many, and none once the port
// has forgotten it.
func TestUseOf(t *testing.T) {
	n := start(t, secure)
	var last atomic.Pointer[port.Use]
	var forgotten context.Context
	n.echo.seen = func(ctx context.Context) { forgotten = ctx; last.Store(n.UseOf(ctx)) }
	var clients []testpb.TestServiceClient
	seen := map[*port.Use]bool{}
	for range 20 {
		clients = append(clients, dial(t, n.addr, clientTLS("h2")))
	}
	for range 2 {
		for _, c := range clients {
			call(t, c, "hi")
			seen[last.Load()] = true
		}
	}
	if len(seen) != len(clients) || seen[nil] {
		t.Errorf("%d uses of %d connections", len(seen), len(clients))
	}
	open, _ := n.List(100)
	for _, o := range open {
		if !seen[o.Use] {
			t.Errorf("%s was used by nobody", o.Peer)
		}
		o.Use.Close()
	}
	eventually(t, func() bool { return n.Conns().Open == 0 })
	if n.UseOf(forgotten) != nil || n.UseOf(t.Context()) != nil {
		t.Error("a connection that is closed is found")
	}
}

// Who looks at the address of a peer finds the type that grpc-go gives.
func TestPeerAddressKeepsItsType(t *testing.T) {
	n := start(t)
	call(t, dial(t, n.addr, nil), "hi")
	if a, ok := n.echo.lastPeer(t).Addr.(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
		t.Errorf("%T", n.echo.lastPeer(t).Addr)
	}
}

// A file that net/http sends by the kernel is counted.
func TestSentFileIsCounted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	n := start(t, func(_ *port.Config, srv *http.Server) {
		srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) })
	})
	get(t, transport(t, nil, http1), "http://"+n.addr)
	eventually(t, func() bool { sent := n.only(t).Sent; return sent > 1<<20 && sent < 1<<20+1000 })
}

// The use of no connection takes what it is told, and long IDs are cut.
func TestUse(t *testing.T) {
	var none *port.Use
	none.Begin()
	none.By(&alice, nil)
	none.End()
	u := &port.Use{}
	u.Begin()
	u.Begin()
	u.End()
	u.By(&alice, &shop)
	u.By(&nobody, &nobody)
	u.By(nil, nil)
	if user, service := u.Caller(); user != "alice" || service != "shop" || u.InFlight() != 1 || u.Calls() != 2 {
		t.Errorf("%q, %q, %d of %d", user, service, u.InFlight(), u.Calls())
	}
	long := strings.Repeat("x", 10_000)
	u.By(&long, nil)
	if user, service := u.Caller(); len(user) != 256 || service != "" {
		t.Errorf("%d bytes shown, and %q", len(user), service)
	}
	if n := testing.AllocsPerRun(100, func() { u.By(&long, nil); u.By(&alice, &shop) }); n > 0 {
		t.Errorf("%.0f allocations for callers by turns", n)
	}
}

// However callers change, a user is never seen with the service of another.
func TestCallersAreSeenWhole(t *testing.T) {
	u := &port.Use{}
	var callers sync.WaitGroup
	for i := range 4 {
		name := strings.Repeat("x", i+1)
		callers.Go(func() {
			for range 100_000 {
				u.By(&name, &name)
			}
		})
	}
	done := make(chan struct{})
	go func() { callers.Wait(); close(done) }()
	for {
		if user, service := u.Caller(); user != service {
			t.Fatalf("%q by %q", user, service)
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

// oddAddr is an address of no pointer type, and one that cannot be compared.
type oddAddr []string

func (oddAddr) Network() string  { return "odd" }
func (a oddAddr) String() string { return a[0] }

type oddConn struct{ net.Conn }

func (oddConn) RemoteAddr() net.Addr { return oddAddr{"odd"} }

// oddListener gives all connections the same address.
type oddListener struct{ net.Listener }

func (l oddListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return oddConn{nc}, nil
}

// Connections are told apart where their addresses are all the same.
func TestUseOfOddAddresses(t *testing.T) {
	n := startOn(t, oddListener{listen(t)})
	uses := map[*port.Use]bool{}
	n.echo.seen = func(ctx context.Context) {
		if p, _ := peer.FromContext(ctx); p.Addr.String() != "odd" {
			t.Errorf("peer %v", p.Addr)
		}
		uses[n.UseOf(ctx)] = true
	}
	for range 3 {
		call(t, dial(t, n.addr, nil), "hi")
	}
	if len(uses) != 3 || uses[nil] {
		t.Errorf("%d uses of 3 connections", len(uses))
	}
}
