package routing

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/go-easyops/easyops/runtime/registry"
)

const service = "routing.test.Who"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir)
	}
	resolver.Register(failing{})
	resolver.Register(flapping{})
	if err := linkLevels(); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

const failingScheme = "routingtest"

// failing is a resolver of which every answer is an error.
type failing struct{}

func (failing) Scheme() string { return failingScheme }

func (f failing) Build(_ resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	cc.ReportError(errors.New("the name is unknown"))
	return f, nil
}

func (failing) ResolveNow(resolver.ResolveNowOptions) {}
func (failing) Close()                                {}

// memory is a registry that says what the test tells it to.
type memory struct {
	mu      sync.Mutex
	list    []registry.Instance
	err     error
	silent  bool // does not answer
	changed chan struct{}
	watches atomic.Int32
}

func newMemory(list ...registry.Instance) *memory {
	return &memory{list: list, changed: make(chan struct{})}
}

func (m *memory) String() string { return "registry of the test" }
func (m *memory) Close() error   { return nil }

func (m *memory) LastAnswer() time.Time { return time.Time{} }

func (m *memory) Register(context.Context, []registry.Instance) (registry.Lease, error) {
	return nil, errors.New("not needed")
}

func (m *memory) Watch(ctx context.Context, _ string, update func([]registry.Instance, error)) {
	m.watches.Add(1)
	defer m.watches.Add(-1)
	for ctx.Err() == nil {
		m.mu.Lock()
		list, err, silent, changed := slices.Clone(m.list), m.err, m.silent, m.changed
		m.mu.Unlock()
		if !silent {
			update(list, err)
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

func (m *memory) say(err error, list ...registry.Instance) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list, m.err, m.silent = list, err, false
	close(m.changed)
	m.changed = make(chan struct{})
}

// server is an instance: a gRPC server that says who it is.
type server struct {
	id    string
	addr  string
	grpc  *grpc.Server
	delay time.Duration
	done  chan struct{}

	authority atomic.Value                                // of the last call
	calls     atomic.Int64                                // that have begun
	behave    atomic.Pointer[func(context.Context) error] // instead of its delay
}

// does makes the server answer in another way; nil for as before.
func (s *server) does(behave func(context.Context) error) {
	if behave == nil {
		s.behave.Store(nil)
		return
	}
	s.behave.Store(&behave)
}

func startServer(t *testing.T, id string) *server { return startServerAt(t, id, "127.0.0.1:0", 0) }

func startServerAt(t *testing.T, id, addr string, delay time.Duration) *server {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(id, l.Addr().String(), delay)
	go func() { defer close(s.done); _ = s.grpc.Serve(l) }()
	t.Cleanup(s.stop)
	return s
}

func newServer(id, addr string, delay time.Duration) *server {
	s := &server{id: id, addr: addr, grpc: grpc.NewServer(), delay: delay, done: make(chan struct{})}
	s.grpc.RegisterService(&grpc.ServiceDesc{
		ServiceName: service,
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Am", Handler: s.am}},
		Streams:     []grpc.StreamDesc{{StreamName: "Stay", Handler: s.stay, ServerStreams: true, ClientStreams: true}},
	}, s)
	return s
}

func (s *server) stop() { s.grpc.Stop(); <-s.done }

func (s *server) am(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	if err := dec(&emptypb.Empty{}); err != nil {
		return nil, err
	}
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		s.authority.Store(strings.Join(md.Get(":authority"), " "))
	}
	s.calls.Add(1)
	if behave := s.behave.Load(); behave != nil {
		if err := (*behave)(ctx); err != nil {
			return nil, err
		}
		return wrapperspb.String(s.id), nil
	}
	select {
	case <-time.After(s.delay):
	case <-ctx.Done():
	}
	return wrapperspb.String(s.id), nil
}

// stay says who it is until the client has enough.
func (s *server) stay(_ any, stream grpc.ServerStream) error {
	for {
		err := stream.RecvMsg(&emptypb.Empty{})
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.SendMsg(wrapperspb.String(s.id)); err != nil {
			return err
		}
	}
}

func (s *server) instance(h registry.Health) registry.Instance {
	return registry.Instance{ID: s.id, Service: service, Addr: s.addr, Kinds: []registry.Kind{registry.KindGRPC}, Health: h}
}

// dial returns a connection that is closed with the test.
func dial(t *testing.T, c Config, opts ...grpc.DialOption) *Conn {
	t.Helper()
	c.Service = service
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	conn, err := Dial(c, append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func dialTo(t *testing.T, m *memory, maxWait time.Duration, opts ...grpc.DialOption) *Conn {
	t.Helper()
	return dial(t, Config{Registry: m, MaxWait: maxWait}, opts...)
}

// who calls and returns the ID of the instance that answered.
func who(ctx context.Context, c *Conn, opts ...grpc.CallOption) (string, error) {
	reply := &wrapperspb.StringValue{}
	err := c.Invoke(ctx, "/"+service+"/Am", &emptypb.Empty{}, reply, opts...)
	return reply.Value, err
}

// want calls until the instance answers, which others may do before.
func want(t *testing.T, c *Conn, id string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for got := ""; got != id; {
		var err error
		if got, err = who(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s never answered, %s does", id, got)
		}
	}
}

func wantStatus(t *testing.T, err error, code codes.Code, texts ...string) {
	t.Helper()
	if status.Code(err) != code {
		t.Fatalf("got %v, want %v", err, code)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
}

// load calls from many goroutines until it is stopped.
type load struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	ok     atomic.Int32
	mu     sync.Mutex
	failed []error
}

func startLoad(t *testing.T, c *Conn, callers int) *load {
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel}
	t.Cleanup(cancel)
	for range callers {
		l.wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := who(t.Context(), c); err != nil {
					l.mu.Lock()
					l.failed = append(l.failed, err)
					l.mu.Unlock()
				} else {
					l.ok.Add(1)
				}
			}
		})
	}
	l.more(t, 10*callers)
	return l
}

// more waits for a number of further answers.
func (l *load) more(t *testing.T, n int) {
	t.Helper()
	goal, deadline := l.ok.Load()+int32(n), time.Now().Add(20*time.Second)
	for l.ok.Load() < goal {
		if time.Now().After(deadline) {
			t.Fatalf("calls are stuck: %d answered, %v", l.ok.Load(), l.failures())
		}
		time.Sleep(time.Millisecond)
	}
}

func (l *load) failures() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.failed)
}

func (l *load) stop() []error {
	l.cancel()
	l.wg.Wait()
	return l.failures()
}
