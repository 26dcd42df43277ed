// Package tcp serves the connections of one TCP service: within bounds, behind TLS or the
// PROXY protocol where these are wanted, and with an orderly end.
package tcp

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a Server is built from. All but Handler has a default.
type Config struct {
	// Name is the service in the log and in errors.
	Name string
	// Handler serves a connection, in a goroutine of its own; the connection is closed when
	// it returns. It is a *tls.Conn where TLS is set. Without TLS, io.Copy from and to it
	// is done by the kernel where the other side is TCP too (on Linux). It has the method
	// CloseWrite in both cases. The context ends when the server drains: the handler is to
	// end what it does then, and is cut off where it does not in time.
	Handler func(context.Context, net.Conn)
	// MaxConns is how many connections may be open at a time; 0 means 16384, negative no
	// limit. One connection more is closed as soon as it is accepted.
	MaxConns int
	// MaxConnsPerIP is the same for one client: an IPv4 address or an IPv6 /64 network; 0
	// means 4096. Proxies of ProxyFrom have no such limit, but each client that they name.
	MaxConnsPerIP int
	// TLS is the server's TLS configuration; nil means plaintext. It is cloned.
	TLS *tls.Config
	// Admit, if set, lets a connection in once it is open, or closes it by an error, which is
	// logged. Its context is the handler's; state is nil without TLS.
	Admit func(ctx context.Context, state *tls.ConnectionState) (context.Context, error)
	// ProxyFrom are the networks of proxies that send a header of the PROXY protocol, version
	// 1 or 2, before anything else. A connection from there that has none is closed. RemoteAddr
	// is the client's then. From others no header is looked for, so that nobody else can
	// name a client.
	ProxyFrom []netip.Prefix
	// OpenTimeout bounds the header and, once more, the TLS handshake; 0 means 5 s.
	OpenTimeout time.Duration
	// Recovered, if set, is told of a panic of the handler, in place of the log, and of whose
	// connection it was. It is called while the stack is still that of the panic.
	Recovered func(ctx context.Context, peer net.Addr, panicked any)
	// Logger gets refused connections, one line a second with the count of all, and what is
	// cut off; nil means slog.Default().
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.MaxConns == 0 {
		c.MaxConns = 16384
	}
	if c.MaxConnsPerIP == 0 {
		c.MaxConnsPerIP = 4096
	}
	if c.OpenTimeout <= 0 {
		c.OpenTimeout = 5 * time.Second
	}
	if c.TLS != nil {
		c.TLS = c.TLS.Clone()
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// Server accepts connections and hands each to the handler. All methods may be called
// concurrently.
type Server struct {
	cfg Config
	lis net.Listener

	life    context.Context // of the handlers
	endLife context.CancelCauseFunc

	refusals [numRefusals]sampler // log lines
	counts   [numRefusals]atomic.Uint64
	accepted atomic.Uint64
	panics   atomic.Uint64
	traffic  [16]traffic // of all connections, a share of them each

	accepting  atomic.Bool
	stop       chan struct{} // closed: no more connections are wanted
	stopOnce   sync.Once
	backlogBy  atomic.Int64  // unix nanoseconds: when the backlog is given up
	acceptDone chan struct{} // closed: the accept loop has ended

	mu     sync.Mutex
	conns  map[*conn]struct{}
	perIP  map[netip.Prefix]int
	closed bool
	cut    error         // names what was cut off
	idle   chan struct{} // closed when the last connection ends; nil while nobody waits
}

// errDraining is why the contexts of handlers end.
var errDraining = errors.New("the server drains")

// New makes a server of a listener that is already bound; it serves nothing before Serve, and
// closes the listener.
func New(lis net.Listener, cfg Config) *Server {
	s := &Server{
		cfg:        cfg.withDefaults(),
		lis:        lis,
		stop:       make(chan struct{}),
		acceptDone: make(chan struct{}),
		conns:      make(map[*conn]struct{}),
		perIP:      make(map[netip.Prefix]int),
	}
	s.life, s.endLife = context.WithCancelCause(context.Background())
	return s
}

// Addr returns the address that the server listens on.
func (s *Server) Addr() net.Addr { return s.lis.Addr() }

// Serve accepts connections until the server drains, then returns nil; or until the listener
// fails for good, then it returns that error. It may be called once.
func (s *Server) Serve() error {
	if !s.accepting.CompareAndSwap(false, true) {
		return errors.New("tcp: Serve called twice")
	}
	defer close(s.acceptDone)
	var delay time.Duration
	found := 0 // connections since the backlog was last looked at
	for {
		nc, err := s.lis.Accept()
		switch {
		case err == nil:
			delay = 0
			found++
			s.admit(nc)
		case s.stopped():
			if !s.backlogLeft(err, found) {
				return nil
			}
			found = 0
		case !temporary(err):
			return err
		default:
			// Out of file descriptors, most likely: wait for some to be freed.
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			s.cfg.Logger.Warn("accept failed, trying again", "service", s.cfg.Name, "err", err, "delay", delay)
			select {
			case <-time.After(delay):
			case <-s.stop:
			}
		}
	}
}

func temporary(err error) bool {
	t, ok := err.(interface{ Temporary() bool })
	return ok && t.Temporary()
}

func (s *Server) stopped() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// The kernel's backlog counts as empty when a step yields nothing; all steps are bounded.
const (
	backlogStep = 5 * time.Millisecond
	backlogTime = 200 * time.Millisecond
)

// StopAccepting takes the connections that the kernel has already accepted, so that their
// clients are not reset, and closes the listener; that takes 5 to 200 ms. Open connections
// are served as before. A client that connects in the very moment in which the listener is
// closed may be reset all the same.
func (s *Server) StopAccepting() {
	s.stopOnce.Do(func() {
		s.backlogBy.Store(time.Now().Add(backlogTime).UnixNano())
		close(s.stop)
		if !s.acceptFor(backlogStep) {
			_ = s.lis.Close()
		}
	})
	if s.accepting.Load() {
		<-s.acceptDone
	}
	_ = s.lis.Close()
}

// acceptFor lets Accept fail after d; it reports false for listeners that cannot.
func (s *Server) acceptFor(d time.Duration) bool {
	l, ok := s.lis.(interface{ SetDeadline(time.Time) error })
	return ok && l.SetDeadline(time.Now().Add(d)) == nil
}

// backlogLeft reports whether Accept, which has just failed with err on a stopped server, is to
// be tried again: it is while it found connections in the step before.
func (s *Server) backlogLeft(err error, found int) bool {
	return found > 0 && errors.Is(err, os.ErrDeadlineExceeded) &&
		time.Now().UnixNano() < s.backlogBy.Load() && s.acceptFor(backlogStep)
}
