package life

import (
	"log/slog"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/test/serve"
)

const service = "echo.v1.EchoService"

// TestRestartUnderLoad restarts two instances in turn under load, the
// replacement first, as a deployment does. Nobody may notice.
func TestRestartUnderLoad(t *testing.T) {
	url := localRegistry(t)
	l, codes := rollingRestarts(t, url, restarts, func(t *testing.T, s *serve.Server) {
		s.Signal(t, syscall.SIGTERM)
	}, "-easyops.drain-delay=300ms", "-easyops.stream-grace=2s")
	if l.failed() != 0 {
		t.Errorf("%d calls failed", l.failed())
	}
	if l.broke != 0 {
		t.Errorf("%d streams ended without a status", l.broke)
	}
	if l.told == 0 {
		t.Error("no stream was ended by a server: the test restarted nothing that mattered")
	}
	for i, code := range codes {
		if code != 0 {
			t.Errorf("stop %d: exit code %d after SIGTERM", i, code)
		}
	}
}

// The controls stop the same servers in worse ways under the same load. If
// that fails nothing, the test above is blind.

func TestControlKill(t *testing.T) {
	url := localRegistry(t)
	l, _ := rollingRestarts(t, url, 3, func(t *testing.T, s *serve.Server) {
		s.Signal(t, syscall.SIGKILL)
	})
	if l.failed() == 0 {
		t.Error("no call failed: the load does not notice servers that die")
	}
	if l.broke == 0 {
		t.Error("no stream broke: the load does not notice servers that die")
	}
}

// TestControlStop gives servers no time to end in an orderly way: calls in
// flight are cut.
func TestControlStop(t *testing.T) {
	url := localRegistry(t)
	l, _ := rollingRestarts(t, url, 3, func(t *testing.T, s *serve.Server) {
		s.Signal(t, syscall.SIGTERM)
	}, "-easyops.drain-delay=0s", "-easyops.stream-grace=0s", "-easyops.shutdown-timeout=1ms")
	if l.failed() == 0 {
		t.Error("no call failed: the load does not notice servers that cut calls")
	}
}

// rollingRestarts starts two instances, calls them through the generated
// client, and n times starts a replacement, waits until it is registered, and
// stops the oldest instance. It returns what the load saw and the exit codes.
func rollingRestarts(t *testing.T, url string, n int, stop func(*testing.T, *serve.Server), flags ...string) (l *load, exitCodes []int) {
	t.Helper()
	flags = append(flags, "-easyops.registry="+url)
	running := []*serve.Server{serve.Start(t, flags...), serve.Start(t, flags...)}
	reg := openRegistry(t, url)
	for _, s := range running {
		awaitRegistered(t, reg, s.Addr)
	}

	client, conn, err := echov1.DialEchoService(easyops.WithRegistry(url))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	l = startLoad(client)
	for range n {
		replacement := serve.Start(t, flags...)
		awaitRegistered(t, reg, replacement.Addr)
		l.await(t, callers)
		stop(t, running[0])
		exitCodes = append(exitCodes, running[0].Wait(t))
		running = append(running[1:], replacement)
	}
	l.await(t, callers)
	l.end(t)
	return l, exitCodes
}

// TestControlDeletedFirst restarts the only instance in place and deletes its
// registration before it ends, for clients that believe the registry and fail
// fast. It is what servers do that unregister at SIGTERM.
func TestControlDeletedFirst(t *testing.T) {
	url := localRegistry(t)
	reg := openRegistry(t, url)
	addr := serve.FreeAddr(t)

	start := func() (*serve.Server, registry.Lease) {
		s := serve.StartAt(t, addr, "-easyops.registry=none", "-easyops.drain-delay=300ms")
		lease, err := reg.Register(t.Context(), []registry.Instance{{
			ID:      registry.NewID(),
			Service: service,
			Addr:    addr,
			Kinds:   []registry.Kind{registry.KindGRPC},
			Health:  registry.Ready,
			Started: time.Now(),
		}})
		if err != nil {
			t.Fatal(err)
		}
		return s, lease
	}

	server, lease := start()
	l := startLoad(naiveClient(t, reg))
	for range 2 {
		l.await(t, callers)
		if err := lease.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		server.Signal(t, syscall.SIGTERM)
		server.Wait(t)
		server, lease = start()
	}
	l.await(t, callers)
	l.end(t)
	if err := lease.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if l.failed() == 0 {
		t.Error("no call failed: the load does not notice a registration that is deleted first")
	}
}

// naiveClient calls what the registry lists now, and nothing when it lists
// nothing.
func naiveClient(t *testing.T, reg registry.Registry) echov1.EchoServiceClient {
	t.Helper()
	builder := manual.NewBuilderWithScheme("naive")
	builder.InitialState(resolver.State{})
	conn, err := grpc.NewClient("naive:///"+service,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithResolvers(builder),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	conn.Connect()
	t.Cleanup(func() { _ = conn.Close() })
	go reg.Watch(t.Context(), service, func(instances []registry.Instance, err error) {
		if err != nil {
			return
		}
		state := resolver.State{}
		for _, i := range instances {
			state.Addresses = append(state.Addresses, resolver.Address{Addr: i.Addr})
		}
		_ = builder.CC().UpdateState(state) // an error says that an empty list is of no use
	})
	return echov1.NewEchoServiceClient(conn)
}

func openRegistry(t *testing.T, url string) registry.Registry {
	t.Helper()
	reg, err := registry.Open(url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close() })
	return reg
}

// awaitRegistered waits until the registry lists a ready instance at addr.
func awaitRegistered(t *testing.T, reg registry.Registry, addr string) {
	t.Helper()
	ctx, cancel := contextWithPatience(t)
	defer cancel()
	found := false
	reg.Watch(ctx, service, func(instances []registry.Instance, err error) {
		for _, i := range instances {
			if err == nil && i.Addr == addr && i.Health == registry.Ready {
				found = true
				cancel()
			}
		}
	})
	if !found {
		t.Fatalf("no ready instance is registered at %s", addr)
	}
}
