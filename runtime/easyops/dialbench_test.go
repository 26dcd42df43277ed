package easyops

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	plaintext "google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/go-easyops/easyops/runtime/registry"
)

// fixedList is a registry whose list never changes.
type fixedList struct {
	registry.Registry
	list []registry.Instance
}

func (f fixedList) Watch(ctx context.Context, _ string, update func([]registry.Instance, error)) {
	update(f.list, nil)
	<-ctx.Done()
}

func (fixedList) Close() error          { return nil }
func (fixedList) LastAnswer() time.Time { return time.Now() }
func (fixedList) String() string        { return "fixed list" }

// bareInstances is a server of grpc-go that listens at several addresses.
func bareInstances(t testing.TB, n int) (addrs []string) {
	t.Helper()
	s := grpc.NewServer()
	testpb.RegisterTestServiceServer(s, &funcs{})
	served := make(chan error, n)
	for range n {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, lis.Addr().String())
		go func() { served <- s.Serve(lis) }()
	}
	t.Cleanup(func() {
		s.Stop()
		for range n {
			<-served
		}
	})
	return addrs
}

// dialOurs returns our client of the addresses.
func dialOurs(t testing.TB, addrs []string) testpb.TestServiceClient {
	t.Helper()
	f := fixedList{}
	for _, addr := range addrs {
		f.list = append(f.list, registry.Instance{
			ID: registry.NewID(), Service: testpb.TestService_ServiceDesc.ServiceName, Addr: addr,
			Kinds: []registry.Kind{registry.KindGRPC}, Health: registry.Ready, Started: time.Now(),
		})
	}
	registry.RegisterDriver("fixed", func(string, *slog.Logger) (registry.Registry, error) { return f, nil })
	conn, err := Dial(testpb.TestService_ServiceDesc.ServiceName, WithRegistry("fixed"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return testpb.NewTestServiceClient(conn)
}

// dialRoundRobin returns that of grpc-go.
func dialRoundRobin(t testing.TB, addrs []string) testpb.TestServiceClient {
	t.Helper()
	r := manual.NewBuilderWithScheme("fixed")
	state := resolver.State{}
	for _, addr := range addrs {
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: addr}}})
	}
	r.InitialState(state)
	conn, err := grpc.NewClient("fixed:///test", grpc.WithTransportCredentials(plaintext.NewCredentials()),
		grpc.WithResolvers(r), grpc.WithNoProxy(), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return testpb.NewTestServiceClient(conn)
}

// What a call costs by Dial, beside grpc-go's round_robin.
func BenchmarkDialled(b *testing.B) {
	for _, c := range []struct {
		name string
		dial func(testing.TB, []string) testpb.TestServiceClient
	}{{"easyops", dialOurs}, {"round_robin", dialRoundRobin}} {
		b.Run(c.name, func(b *testing.B) {
			call := unaryCall(b, c.dial(b, bareInstances(b, 10)))
			for range 100 {
				call()
			}
			b.ReportAllocs()
			for b.Loop() {
				call()
			}
		})
	}
}
