package easyops

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	grpchealth "google.golang.org/grpc/health"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/metrics"
	"github.com/go-easyops/easyops/runtime/port"
	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/status"
)

// Server serves gRPC services, HTTP handlers and the status pages. All methods
// but RegisterService and Start may be called concurrently.
type Server struct {
	cfg      *config
	services []Service // the user's
	methods  map[string]*method
	unknown  *method // stands for all that are not registered

	id      string
	started time.Time
	clock   clock
	log     *slog.Logger
	trust   trust
	tls     *tls.Config
	certs   *auth.Certificates // where TLS is that of files

	plaintext bool // tokens come from other machines without TLS

	authenticators []auth.Authenticator // those opened first
	opened         []auth.Authenticator // by us, who close them
	sources        []auth.Source        // what identity rests on

	grpc       *grpc.Server
	grpcHTTP   *grpc.Server // for calls that come by net/http
	http       *http.Server
	port       *port.Port
	statusHTTP *http.Server // where the pages have an address of their own
	statusLis  net.Listener
	pages      func() *status.Pages // made for the first request
	health     *grpchealth.Server
	metrics    *metrics.Set
	requests   *metrics.HTTP // nil without HTTP handlers
	routed     routeRecords
	calls      *calls
	callers    *callers
	resets     *resets
	access     accessLog
	drainDelay atomic.Int64 // nanoseconds
	history    history
	recent     recentErrors
	panics     budget
	registry   registry.Registry // nil for none
	publisher  *registry.Publisher
	reserve    []byte // see reserveHeap

	mu      sync.Mutex // guards what follows
	begun   bool       // Start was called
	checked []error    // the last results of the checks, nil before the first

	takenOut bool // of the registry, by an operator

	serving  atomic.Bool   // Start has succeeded
	state    atomic.Value  // of registry.Health
	launched chan struct{} // closed when all goroutines of the start run
	ready    chan struct{}
	draining chan struct{} // closed when streams are to end
	stopping chan struct{} // closed when a stop begins
	hurry    chan struct{} // closed when a stop is to cut what is left
	done     chan struct{} // closed when all has ended
	err      error         // of Wait, set before done is closed
	stopOnce sync.Once
	cutOnce  sync.Once

	life       context.Context // ends when the last call has ended
	endLife    context.CancelFunc
	background sync.WaitGroup // goroutines of the runtime that end with life
	work       work           // goroutines of the user's (see Go)
	callbacks  work           // those of WithCheck and WithOnReady
}

// Start serves the services on one port and returns. It does not wait for the
// registry. Its error names every wrong setting.
func Start(services []Service, opts ...ServerOption) (*Server, error) {
	s := NewServer(opts...)
	s.services = append(s.services, services...)
	if err := s.Start(); err != nil {
		return nil, err
	}
	return s, nil
}

// NewServer returns a server for services that are registered by hand: it is a
// [grpc.ServiceRegistrar] until [Server.Start], which a main function passes on:
//
//	s := easyops.NewServer()
//	echov1.RegisterEchoServiceServer(s, &echo{})
//	easyops.Main(s, s.Start())
func NewServer(opts ...ServerOption) *Server {
	cfg := serverConfig(opts)
	s := &Server{
		cfg:      cfg,
		id:       registry.NewID(),
		log:      cfg.log(),
		methods:  map[string]*method{},
		launched: make(chan struct{}),
		ready:    make(chan struct{}),
		draining: make(chan struct{}),
		stopping: make(chan struct{}),
		hurry:    make(chan struct{}),
		done:     make(chan struct{}),
	}
	s.state.Store(registry.Starting)
	s.access.sample.Store(sampleOf(cfg.accessLogSample))
	s.access.log, s.history.server = s.log, s
	s.life, s.endLife = context.WithCancel(context.Background())
	return s
}

// RegisterService implements [grpc.ServiceRegistrar]. A service that cannot be
// served is reported by [Server.Start]. It panics once the server was started,
// because the call would have no effect.
func (s *Server) RegisterService(desc *grpc.ServiceDesc, impl any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun {
		panic(fmt.Sprintf("easyops: %s is registered after Start: register services before", desc.ServiceName))
	}
	var b Service
	recorder{&b}.RegisterService(desc, impl)
	s.services = append(s.services, b)
}

// GetServiceInfo describes the registered services, as
// [grpc.Server.GetServiceInfo] does. From Start on it includes those of the
// runtime, such as health.
func (s *Server) GetServiceInfo() map[string]grpc.ServiceInfo {
	if s.grpc != nil {
		return s.grpc.GetServiceInfo()
	}
	info := map[string]grpc.ServiceInfo{}
	for _, b := range s.services {
		i := grpc.ServiceInfo{Metadata: b.desc.Metadata}
		for _, m := range b.desc.Methods {
			i.Methods = append(i.Methods, grpc.MethodInfo{Name: m.MethodName})
		}
		for _, m := range b.desc.Streams {
			i.Methods = append(i.Methods, grpc.MethodInfo{Name: m.StreamName, IsClientStream: m.ClientStreams, IsServerStream: m.ServerStreams})
		}
		info[b.desc.ServiceName] = i
	}
	return info
}

var errNotStarted = errors.New("the server was not started: call its Start and look at the error")

// Addr returns the address that the server listens on; nil before Start.
func (s *Server) Addr() net.Addr {
	if s.port == nil {
		return nil
	}
	return s.port.Addr()
}

// Ready is closed when the server serves and all its checks have passed for
// the first time.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Draining is closed when the server begins to drain: the drain delay is over,
// nothing new is accepted, and what is open is to end. It is for what a program
// serves beside it; [Draining] is for handlers.
func (s *Server) Draining() <-chan struct{} { return s.draining }

// Wait waits until the server has stopped and nothing of it runs any more. It
// returns nil after an orderly stop, and otherwise an error that names what was
// cut off or went wrong. A server whose Start has failed has stopped.
func (s *Server) Wait() error {
	<-s.done
	return s.err
}

// Shutdown stops the server in an orderly way and waits for it. When the
// context ends first, what is left is cut off. It may be called more than once.
func (s *Server) Shutdown(ctx context.Context) error {
	if !s.serving.Load() {
		return errNotStarted
	}
	s.stop("shutdown by the program")
	select {
	case <-s.done:
	case <-ctx.Done():
		s.cut()
	}
	return s.Wait()
}

func (s *Server) stateNow() registry.Health { return s.state.Load().(registry.Health) }
