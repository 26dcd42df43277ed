// Package port serves gRPC and HTTP on one listener. Each connection is looked at once, when
// it begins, and then belongs to one protocol stack for life:
//
//   - HTTP/1, and HTTP/2 from TLS clients that offered both (browsers, curl, net/http), goes to
//     the http.Server, whose handler passes gRPC calls (IsGRPC) to grpc.Server.ServeHTTP;
//   - other HTTP/2 goes by the content-type of its first request: gRPC to the grpc.Server's own
//     transport, at the full speed of that, and the rest to the http.Server. A client that
//     sends no request in time is taken for a gRPC client that waits.
//
// What was read for that is replayed; afterwards a read is one of the connection itself. A client
// that waits for an answer before its first request gets it from the port: SETTINGS are
// acknowledged, once in all, and PINGs answered.
package port

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a Port is built from. The zero value is a plaintext port with the defaults.
type Config struct {
	// TLS is the server's TLS configuration; nil means plaintext. It is cloned, and the
	// clone's NextProtos become h2 and http/1.1. GetConfigForClient is respected.
	TLS *tls.Config
	// MaxConns is how many connections may be open at a time; 0 means 16384, negative no
	// limit. One connection more is closed as soon as it is accepted.
	MaxConns int
	// MaxConnsPerIP is the same for one peer: an IPv4 address or an IPv6 /64 network; 0 means
	// 4096.
	MaxConnsPerIP int
	// MaxStreams is the SETTINGS_MAX_CONCURRENT_STREAMS that a client is told before it is
	// known which stack serves it; 0 means 250. The stack's own setting follows and counts.
	MaxStreams uint32
	// ClassifyTimeout bounds each step of a connection's beginning: the TLS handshake, the
	// first bytes, the SETTINGS frame, the first request's headers; 0 means 5 s. Together they
	// may take 7/5 of it, and an HTTP/1 client that takes more than 2/5 for the first two has as
	// much less for its headers.
	ClassifyTimeout time.Duration
	// UserTimeout is how long a gRPC client's kernel may leave sent data unacknowledged before
	// the connection is given up (TCP_USER_TIMEOUT, on Linux); 0 means 20 s, negative no limit.
	UserTimeout time.Duration
	// AllHTTP2ToHTTP gives every HTTP/2 connection to the http.Server, gRPC included. Needed
	// only behind a proxy that mixes gRPC and plain HTTP requests on one connection: without
	// it, plain requests on a connection that began with gRPC get status 415.
	AllHTTP2ToHTTP bool
	// Note, if set, is called for each connection that goes to the gRPC server. What it returns is
	// kept with the connection, for whoever serves its calls: see Use.Note.
	Note func() any
	// Logger gets refused connections, certificates that a side did not take, and at DEBUG
	// connections that end before a request, of each one a second with the count of all, and
	// accept errors; nil means slog.Default().
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.MaxConns == 0 {
		c.MaxConns = 16384
	}
	if c.MaxConnsPerIP == 0 {
		c.MaxConnsPerIP = 4096
	}
	if c.MaxStreams == 0 {
		c.MaxStreams = 250
	}
	if c.ClassifyTimeout <= 0 {
		c.ClassifyTimeout = 5 * time.Second
	}
	if c.UserTimeout == 0 {
		c.UserTimeout = 20 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// Port accepts connections and hands each to the gRPC or the HTTP server. All methods may be
// called concurrently.
type Port struct {
	cfg  Config
	lis  net.Listener
	tls  *tls.Config
	http *http.Server

	grpcQueue *queue
	httpQueue *queue

	refusals   sampler // log lines about refused connections
	certFaults sampler // log lines about certificates
	unbegun    sampler // log lines about connections without a request

	accepting  atomic.Bool
	stop       chan struct{} // closed: no more connections are wanted
	stopOnce   sync.Once
	backlogBy  atomic.Int64  // unix nanoseconds: when the backlog is given up
	acceptDone chan struct{} // closed: the accept loop has ended

	byAddr *table // the connections of gRPC

	mu    sync.Mutex
	conns map[*conn]struct{}
	perIP map[netip.Prefix]int
	count [protocols]int
	// hurryBy, once set, is when every connection must have been classified.
	hurryBy time.Time
	closed  bool
	busy    int           // goroutines of this package, and fresh connections
	idle    chan struct{} // closed when busy falls to 0; nil while nobody waits
}

// New makes a port of a listener that is already bound; it serves nothing before Serve. The
// caller sets srv's handler and limits before Serve; the port sets srv.Protocols and
// wraps srv.Handler and srv.ConnContext. srv must serve nothing else.
func New(lis net.Listener, srv *http.Server, cfg Config) *Port {
	p := &Port{
		cfg:        cfg.withDefaults(),
		lis:        lis,
		http:       srv,
		grpcQueue:  newQueue(lis.Addr()),
		httpQueue:  newQueue(lis.Addr()),
		stop:       make(chan struct{}),
		acceptDone: make(chan struct{}),
		conns:      make(map[*conn]struct{}),
		perIP:      make(map[netip.Prefix]int),
		byAddr:     newTable(),
	}
	if cfg.TLS != nil {
		p.tls = serverTLS(cfg.TLS)
	}
	return p
}

// Addr returns the address that the port listens on.
func (p *Port) Addr() net.Addr { return p.lis.Addr() }

// GRPCListener returns the listener for grpc.Server.Serve. It yields connections whose TLS
// handshake is done and whose first request is gRPC, so the server must be built with
// Credentials. Closing it (GracefulStop and Stop do) ends gRPC only: a gRPC connection that
// comes later is told to go elsewhere without losing a call.
func (p *Port) GRPCListener() net.Listener { return p.grpcQueue }

// Serve accepts connections until Shutdown or Close, then returns nil; or until the listener
// fails for good, then it returns that error. It may be called once.
func (p *Port) Serve() error {
	if !p.accepting.CompareAndSwap(false, true) {
		return errors.New("port: Serve called twice")
	}
	p.prepareHTTP()
	served := make(chan error, 1)
	go func() { served <- p.http.Serve(p.httpQueue) }()
	err := p.acceptLoop()
	close(p.acceptDone)
	if err != nil {
		return err
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// acceptLoop returns nil once the port is stopped and an error when the listener is broken.
func (p *Port) acceptLoop() error {
	var delay time.Duration
	accepted := 0
	for {
		nc, err := p.lis.Accept()
		switch {
		case err == nil:
			delay = 0
			accepted++
			p.admit(nc)
		case p.stopped():
			if !p.backlogLeft(err, accepted) {
				return nil
			}
			accepted = 0
		case !temporary(err):
			return err
		default:
			// Out of file descriptors, most likely: wait for some to be freed.
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			p.cfg.Logger.Warn("accept failed, trying again", "err", err, "delay", delay)
			select {
			case <-time.After(delay):
			case <-p.stop:
			}
		}
	}
}

func (p *Port) stopped() bool {
	select {
	case <-p.stop:
		return true
	default:
		return false
	}
}

func temporary(err error) bool {
	t, ok := err.(interface{ Temporary() bool })
	return ok && t.Temporary()
}

// prepareHTTP makes the HTTP server take what the port hands it: HTTP/2 from a *tls.Conn or
// from a replayed connection, which it takes for plaintext even where that is TLS.
func (p *Port) prepareHTTP() {
	var protos http.Protocols
	protos.SetHTTP1(true)
	protos.SetHTTP2(true)
	protos.SetUnencryptedHTTP2(true)
	p.http.Protocols = &protos
	if p.http.HTTP2 == nil {
		p.http.HTTP2 = &http.HTTP2Config{}
	}
	p.http.HTTP2.MaxReadFrameSize = maxFrameLen // what the port's SETTINGS say: RFC 9113's default
	inner := p.http.ConnContext
	p.http.ConnContext = func(ctx context.Context, nc net.Conn) context.Context {
		if inner != nil {
			ctx = inner(ctx, nc)
		}
		return context.WithValue(ctx, connKey{}, trackedBelow(nc))
	}
	p.http.Handler = p.observe(p.http.Handler)
}

type connKey struct{}

// trackedBelow returns the port's own connection below what it handed to the HTTP server.
func trackedBelow(nc net.Conn) *conn {
	switch nc := nc.(type) {
	case *conn:
		return nc
	case *tls.Conn:
		return trackedBelow(nc.NetConn())
	case *replayConn:
		return trackedBelow(nc.Conn)
	}
	return nil
}

// observe notes a connection's first request, for the drain, and sets r.TLS where net/http does
// not know of it.
func (p *Port) observe(next http.Handler) http.Handler {
	if next == nil {
		next = http.NotFoundHandler() // and not http.DefaultServeMux
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, _ := r.Context().Value(connKey{}).(*conn); c != nil {
			if r.TLS == nil {
				r.TLS = c.tls.Load()
			}
			p.requestBegan(c)
		}
		next.ServeHTTP(w, r)
	})
}
