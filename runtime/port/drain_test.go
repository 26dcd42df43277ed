package port_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/go-easyops/easyops/runtime/port"
)

// drain does what a server's orderly stop does.
func (n *node) drain(ctx context.Context) error {
	n.StopAccepting()
	done := make(chan struct{})
	go func() {
		n.grpc.GracefulStop()
		close(done)
	}()
	err := n.Shutdown(ctx)
	<-done
	return err
}

func TestDrainFinishesCalls(t *testing.T) {
	for _, tc := range []struct {
		name string
		opts []nodeOption
		do   func(t *testing.T, n *node) error
	}{
		{"grpc", nil, func(t *testing.T, n *node) error {
			_, err := dial(t, n.addr, nil).UnaryCall(timeout(t), request("wait"))
			return err
		}},
		{"grpc TLS", []nodeOption{secure}, func(t *testing.T, n *node) error {
			_, err := dial(t, n.addr, clientTLS()).UnaryCall(timeout(t), request("wait"))
			return err
		}},
		{"grpc over net/http", []nodeOption{secure}, func(t *testing.T, n *node) error {
			_, err := dial(t, n.addr, clientTLS("http/1.1")).UnaryCall(timeout(t), request("wait"))
			return err
		}},
		{"http/1.1", nil, func(t *testing.T, n *node) error {
			return wait(t, transport(t, nil, http1), "http://"+n.addr)
		}},
		{"h2c", nil, func(t *testing.T, n *node) error {
			return wait(t, transport(t, nil, h2c), "http://"+n.addr)
		}},
		{"https h2 only", []nodeOption{secure}, func(t *testing.T, n *node) error {
			return wait(t, transport(t, clientTLS(), http2), "https://"+n.addr)
		}},
		{"https both", []nodeOption{secure}, func(t *testing.T, n *node) error {
			return wait(t, transport(t, clientTLS(), http1, http2), "https://"+n.addr)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			n := start(t, tc.opts...)
			result, drained := make(chan error, 1), make(chan error, 1)
			go func() { result <- tc.do(t, n) }()
			<-n.echo.begun
			go func() { drained <- n.drain(timeout(t)) }()
			eventually(t, func() bool { // the listener is closed, so the drain has begun
				c, err := net.Dial("tcp", n.addr)
				if err == nil {
					_ = c.Close()
				}
				return err != nil
			})
			select {
			case err := <-drained:
				t.Fatalf("the drain did not wait for the call: %v", err)
			case err := <-result:
				t.Fatalf("the call ended early: %v", err)
			default:
			}
			close(n.echo.block)
			if err := <-result; err != nil {
				t.Errorf("call in flight: %v", err)
			}
			if err := <-drained; err != nil {
				t.Errorf("drain: %v", err)
			}
			eventually(t, func() bool { return n.Conns() == port.Counts{} })
		})
	}
}

func wait(t *testing.T, rt http.RoundTripper, rawURL string) error {
	req, err := http.NewRequestWithContext(timeout(t), http.MethodGet, rawURL+"/wait", nil)
	if err != nil {
		return err
	}
	res, err := rt.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	_, err = io.ReadAll(res.Body)
	return err
}

func TestDrainIsBounded(t *testing.T) {
	n := start(t)
	result := make(chan error, 1)
	go func() { result <- wait(t, transport(t, nil, http1), "http://"+n.addr) }()
	<-n.echo.begun
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := n.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shutdown: %v", err)
	}
	_ = n.Close()
	if err := <-result; err == nil {
		t.Error("the request survived Close")
	}
	close(n.echo.block)
}

// A connection whose first request arrives when gRPC has stopped is told that nothing was
// processed, and is not reset while it reads that.
func TestLateGRPC(t *testing.T) {
	for name, connect := range map[string]func(*testing.T) (*node, net.Conn){
		"plaintext": func(t *testing.T) (*node, net.Conn) { n := start(t); return n, rawDial(t, n.addr) },
		"TLS":       func(t *testing.T) (*node, net.Conn) { n := start(t, secure); return n, rawTLS(t, n.addr, "h2") },
	} {
		t.Run(name, func(t *testing.T) {
			n, nc := connect(t)
			c := rawH2(t, nc)
			next[*xhttp2.SettingsFrame](t, c)
			n.grpc.GracefulStop()
			_ = c.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: grpcRequest(), EndHeaders: true})
			for range 100 { // unread data on the server's side is what makes a kernel reset
				_ = c.WriteData(1, false, make([]byte, 100))
			}
			g := next[*xhttp2.GoAwayFrame](t, c)
			if g.LastStreamID != 0 || g.ErrCode != xhttp2.ErrCodeNo {
				t.Errorf("%v", g)
			}
			if _, err := c.ReadFrame(); !errors.Is(err, io.EOF) {
				t.Errorf("after GOAWAY: %v", err)
			}
		})
	}
}

func TestLateHTTP(t *testing.T) {
	t.Parallel()
	n := start(t)
	c := rawDial(t, n.addr)
	send(t, c, "GET / HTTP")
	eventually(t, func() bool { return n.Conns().HTTP1 == 1 }) // half a request is served
	late := rawDial(t, n.addr)
	eventually(t, func() bool { return n.Conns().Classifying == 1 })
	drained := make(chan error, 1)
	go func() { drained <- n.drain(timeout(t)) }()
	send(t, c, "/1.1\r\nHost: x\r\n\r\n")
	b, _ := io.ReadAll(c)
	if !strings.HasPrefix(string(b), "HTTP/1.1 200 ") {
		t.Errorf("request in flight: %q", b)
	}
	if d := closedAfter(t, late); d > 3*time.Second {
		t.Errorf("silent connection closed after %v", d)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// Waiting clients and half a request do not hold up the drain for as long as ClassifyTimeout,
// wherever gRPC's own drain has got to.
func TestDrainHurries(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(*node) error{
		"HTTP only": func(n *node) error { return n.Shutdown(timeout(t)) },
		"both":      func(n *node) error { return n.drain(timeout(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, func(c *port.Config, _ *http.Server) { c.ClassifyTimeout = time.Minute })
			c := rawH2(t, rawDial(t, n.addr))
			next[*xhttp2.SettingsFrame](t, c)
			half := rawH2(t, rawDial(t, n.addr))
			send(t, half.Conn, "\x00\x00")
			drained := make(chan error, 1)
			began := time.Now()
			go func() { drained <- stop(n) }()
			if g := next[*xhttp2.GoAwayFrame](t, c); g.LastStreamID != 0 || g.ErrCode != xhttp2.ErrCodeNo {
				t.Errorf("%v", g)
			}
			_ = c.Close()
			if err := <-drained; err != nil {
				t.Fatal(err)
			}
			if d := time.Since(began); d > 5*time.Second {
				t.Errorf("drained after %v", d)
			}
		})
	}
}

// Connections that the kernel has accepted when the stop begins are served, or, in HTTP/2, told
// that nothing was processed.
func TestBacklog(t *testing.T) {
	for name, tc := range map[string]struct {
		begin func(*testing.T, net.Conn)
		ended func(*testing.T, net.Conn)
	}{
		"http/1.1": {
			func(t *testing.T, c net.Conn) { send(t, c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n") },
			func(t *testing.T, c net.Conn) {
				if b, err := io.ReadAll(c); err != nil || !strings.HasSuffix(string(b), "ok") {
					t.Errorf("got %q, %v", b, err)
				}
			},
		},
		"h2c": {
			func(t *testing.T, c net.Conn) {
				_ = rawH2(t, c).WriteHeaders(xhttp2.HeadersFrameParam{
					StreamID: 1, EndHeaders: true, EndStream: true,
					BlockFragment: headers(":method", "GET", ":scheme", "http", ":authority", "x", ":path", "/"),
				})
			},
			func(t *testing.T, c net.Conn) {
				f := xhttp2.NewFramer(nil, c)
				for {
					switch fr, err := f.ReadFrame(); fr := fr.(type) {
					case *xhttp2.HeadersFrame:
						return
					case *xhttp2.GoAwayFrame:
						if fr.LastStreamID == 0 {
							return
						}
					default:
						if err != nil {
							t.Error(err)
							return
						}
					}
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			lis := listen(t)
			gate := &gatedListener{TCPListener: lis.(*net.TCPListener), open: make(chan struct{})}
			srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })}
			p := port.New(gate, srv, port.Config{})
			served := make(chan error, 1)
			go func() { served <- p.Serve() }()
			conns := make([]net.Conn, 50)
			for i := range conns {
				conns[i] = rawDial(t, lis.Addr().String())
				tc.begin(t, conns[i])
			}
			drained := make(chan error, 1)
			go func() { drained <- p.Shutdown(timeout(t)) }()
			close(gate.open)
			for _, c := range conns {
				tc.ended(t, c)
			}
			if err := errors.Join(<-drained, <-served, p.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}

// gatedListener accepts nothing until it is opened.
type gatedListener struct {
	*net.TCPListener
	open chan struct{}
}

func (g *gatedListener) Accept() (net.Conn, error) {
	<-g.open
	return g.TCPListener.Accept()
}

// Two servers are replaced in turn, again and again, under load: no call fails, although the
// callers do not retry and half of them connect anew for each call.
func TestRestartUnderLoad(t *testing.T) {
	t.Parallel()
	drain := func(n *node) { _ = n.drain(context.Background()) }
	for _, way := range []struct {
		name  string
		stop  func(*node)
		tls   *tls.Config
		clean bool
	}{
		{"drain", drain, nil, true},
		{"drain, TLS", drain, clientTLS(), true},
		{"negative control: cut", func(n *node) { _ = n.Close() }, nil, false},
	} {
		t.Run(way.name, func(t *testing.T) {
			var opts []nodeOption
			if way.tls != nil {
				opts = append(opts, secure)
			}
			nodes := []*node{start(t, opts...), start(t, opts...)}
			ctx, cancel := context.WithCancel(context.Background())
			l := &load{tls: way.tls}
			l.publish(nodes)
			for range 4 {
				l.callers.Go(func() { l.stay(ctx, t) })
				l.callers.Go(func() { l.reconnect(ctx, t) })
			}
			for i := range 10 {
				l.more(t, 50)
				old := nodes[i%2]
				nodes[i%2] = start(t, opts...)
				l.publish(nodes)
				if way.clean {
					l.more(t, 50) // as a drain delay has it: who has read the old list has connected
				}
				way.stop(old)
			}
			cancel()
			l.callers.Wait()
			t.Logf("%d calls, %d failed", l.calls.Load(), l.failed.Load())
			if (l.failed.Load() == 0) != way.clean {
				t.Errorf("%d of %d calls failed, such as: %v", l.failed.Load(), l.calls.Load(), l.err)
			}
		})
	}
}

// load is callers that do not retry.
type load struct {
	tls           *tls.Config
	callers       sync.WaitGroup
	calls, failed atomic.Int64
	mu            sync.Mutex
	resolvers     []*manual.Resolver
	state         resolver.State
	err           error
}

func addresses(nodes []*node) (s resolver.State) {
	for _, n := range nodes {
		s.Addresses = append(s.Addresses, resolver.Address{Addr: n.addr})
	}
	return s
}

func (l *load) publish(nodes []*node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = addresses(nodes)
	for _, r := range l.resolvers {
		r.UpdateState(l.state)
	}
}

func (l *load) client(t *testing.T, policy string, follow bool) *grpc.ClientConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	res := manual.NewBuilderWithScheme("test")
	res.InitialState(l.state)
	if follow {
		l.resolvers = append(l.resolvers, res)
	}
	creds := insecure.NewCredentials()
	if l.tls != nil {
		creds = credentials.NewTLS(l.tls)
	}
	cc, err := grpc.NewClient("test:///x", grpc.WithResolvers(res), grpc.WithDisableRetry(), grpc.WithTransportCredentials(creds),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"`+policy+`":{}}]}`))
	if err != nil {
		t.Error(err)
		return nil
	}
	cc.Connect() // for updates of res before the first call
	return cc
}

func (l *load) call(t *testing.T, cc *grpc.ClientConn) {
	if _, err := testpb.NewTestServiceClient(cc).UnaryCall(timeout(t), request("x")); err != nil {
		l.failed.Add(1)
		l.mu.Lock()
		l.err = err
		l.mu.Unlock()
	}
	l.calls.Add(1)
}

// stay keeps its connections.
func (l *load) stay(ctx context.Context, t *testing.T) {
	cc := l.client(t, "round_robin", true)
	defer func() { _ = cc.Close() }()
	for ctx.Err() == nil {
		l.call(t, cc)
	}
}

// reconnect connects anew for each call.
func (l *load) reconnect(ctx context.Context, t *testing.T) {
	for ctx.Err() == nil {
		cc := l.client(t, "pick_first", false)
		l.call(t, cc)
		_ = cc.Close()
	}
}

// more waits for n further calls.
func (l *load) more(t *testing.T, n int64) {
	t.Helper()
	n += l.calls.Load()
	eventually(t, func() bool { return l.calls.Load() >= n })
}

// A client that is connected but has called nothing yet makes its first call when its server
// has stopped: the call succeeds on another server.
func TestLateCallGoesElsewhere(t *testing.T) {
	for name, cfg := range map[string]*tls.Config{"plaintext": nil, "TLS": clientTLS()} {
		t.Run(name, func(t *testing.T) {
			var opts []nodeOption
			if cfg != nil {
				opts = append(opts, secure)
			}
			a, b := start(t, opts...), start(t, opts...)
			res := manual.NewBuilderWithScheme("test")
			res.InitialState(addresses([]*node{a, b}))
			creds := insecure.NewCredentials()
			if cfg != nil {
				creds = credentials.NewTLS(cfg)
			}
			cc, err := grpc.NewClient("test:///x", grpc.WithResolvers(res), grpc.WithDisableRetry(), grpc.WithTransportCredentials(creds))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = cc.Close() }()
			cc.Connect()
			for s := cc.GetState(); s != connectivity.Ready; s = cc.GetState() {
				cc.WaitForStateChange(timeout(t), s)
			}
			if a.Conns().Classifying != 1 {
				t.Fatalf("%+v", a.Conns())
			}
			a.StopAccepting()
			a.grpc.GracefulStop()
			call(t, testpb.NewTestServiceClient(cc), "elsewhere")
			if b.Conns().GRPC != 1 {
				t.Errorf("%+v", b.Conns())
			}
		})
	}
}

// A gRPC server that stops between Accept and the first byte closes the connection unseen: the
// client is told all the same.
func TestAcceptedTooLate(t *testing.T) {
	p := port.New(listen(t), &http.Server{}, port.Config{})
	served := make(chan error, 1)
	go func() { served <- p.Serve() }()
	c := rawH2(t, rawDial(t, p.Addr().String()))
	_ = c.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: grpcRequest(), EndHeaders: true})
	nc, err := p.GRPCListener().Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Close(); err != nil {
		t.Error(err)
	}
	if g := next[*xhttp2.GoAwayFrame](t, c); g.LastStreamID != 0 || g.ErrCode != xhttp2.ErrCodeNo {
		t.Errorf("%v", g)
	}
	if err := nc.Close(); err != nil { // now it is cut
		t.Error(err)
	}
	eventually(t, func() bool { return p.Conns() == port.Counts{} })
	if err := errors.Join(p.Close(), <-served); err != nil {
		t.Error(err)
	}
}
