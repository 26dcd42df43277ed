package easyops

import (
	"context"
	"net"
	"runtime/debug"
	"slices"
	"testing"

	"google.golang.org/grpc"
	plaintext "google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
)

// bareServer is grpc-go by itself, with the same transport options.
func bareServer(t testing.TB) testpb.TestServiceClient {
	t.Helper()
	lis := listenInMemory()
	s := grpc.NewServer(transportDefaults(Limits{}.withDefaults())...)
	testpb.RegisterTestServiceServer(s, &funcs{})
	served := make(chan error, 1)
	go func() { served <- s.Serve(lis) }()
	t.Cleanup(func() {
		s.Stop()
		<-served
	})
	conn, err := grpc.NewClient("passthrough:///bare.test",
		grpc.WithTransportCredentials(plaintext.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return testpb.NewTestServiceClient(conn)
}

// contenders are the servers that are compared: the same client calls the same
// service, in memory.
var contenders = []struct {
	name   string
	client func(testing.TB) testpb.TestServiceClient
}{
	{"bare", bareServer},
	{"easyops", func(t testing.TB) testpb.TestServiceClient { return newRig(t, ways[0], &funcs{}).client() }},
	{"easyops-nethttp", func(t testing.TB) testpb.TestServiceClient { return newRig(t, ways[1], &funcs{}).client() }},
}

func BenchmarkUnary(b *testing.B) {
	for _, c := range contenders {
		b.Run(c.name, func(b *testing.B) {
			client := c.client(b)
			call := unaryCall(b, client)
			b.ReportAllocs()
			for b.Loop() {
				call()
			}
		})
	}
}

func BenchmarkStream(b *testing.B) {
	for _, c := range contenders {
		b.Run(c.name, func(b *testing.B) {
			client := c.client(b)
			call := streamCallOf(b, client)
			b.ReportAllocs()
			for b.Loop() {
				call()
			}
		})
	}
}

func BenchmarkUnaryParallel(b *testing.B) {
	for _, c := range contenders {
		b.Run(c.name, func(b *testing.B) {
			client := c.client(b)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				call := unaryCall(b, client)
				for pb.Next() {
					call()
				}
			})
		})
	}
}

func unaryCall(t testing.TB, client testpb.TestServiceClient) func() {
	ctx, in := context.Background(), &testpb.SimpleRequest{}
	return func() {
		if _, err := client.UnaryCall(ctx, in); err != nil {
			t.Error(err)
		}
	}
}

func streamCallOf(t testing.TB, client testpb.TestServiceClient) func() {
	ctx, in := context.Background(), &testpb.StreamingOutputCallRequest{}
	return func() {
		s, err := client.StreamingOutputCall(ctx, in)
		if err != nil {
			t.Error(err)
			return
		}
		for err == nil {
			_, err = s.Recv()
		}
	}
}

// A call costs no more than two allocations on top of what grpc-go needs. The
// race detector makes pools forget, so with it more is let pass.
func TestAllocationsOfACall(t *testing.T) {
	most := 2.0
	if raceDetector() {
		most += 3
	}
	kinds := map[string]func(testing.TB, testpb.TestServiceClient) func(){"unary": unaryCall, "stream": streamCallOf}
	for kind, call := range kinds {
		t.Run(kind, func(t *testing.T) {
			bare := leastAllocs(call(t, contenders[0].client(t)))
			ours := leastAllocs(call(t, contenders[1].client(t)))
			t.Logf("bare %.1f, easyops %.1f allocations a call", bare, ours)
			if ours > bare+most {
				t.Errorf("easyops costs %.1f allocations more than grpc-go by itself, want at most %.0f", ours-bare, most)
			}
		})
	}
}

func leastAllocs(call func()) float64 {
	least := testing.AllocsPerRun(200, call)
	for range 5 {
		least = min(least, testing.AllocsPerRun(100, call))
	}
	return least
}

// raceDetector tells whether the test binary was built with -race.
func raceDetector() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
