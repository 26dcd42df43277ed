package interop

import (
	"context"
	"flag"
	"os"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	grpcinterop "google.golang.org/grpc/interop"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/easyopstest"
	"github.com/go-easyops/easyops/test/interop/interopeasyops"
	"github.com/go-easyops/easyops/test/serve"
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(m.Run())
}

// cases are those of grpc-go's client that need nothing but the server. A case
// that fails ends the process with its reason, which is how they are written.
var cases = map[string]func(context.Context, *grpc.ClientConn, testpb.TestServiceClient){
	"empty_unary":                 onClient(grpcinterop.DoEmptyUnaryCall),
	"large_unary":                 onClient(grpcinterop.DoLargeUnaryCall),
	"client_streaming":            onClient(grpcinterop.DoClientStreaming),
	"server_streaming":            onClient(grpcinterop.DoServerStreaming),
	"ping_pong":                   onClient(grpcinterop.DoPingPong),
	"empty_stream":                onClient(grpcinterop.DoEmptyStream),
	"timeout_on_sleeping_server":  onClient(grpcinterop.DoTimeoutOnSleepingServer),
	"cancel_after_begin":          onClient(grpcinterop.DoCancelAfterBegin),
	"cancel_after_first_response": onClient(grpcinterop.DoCancelAfterFirstResponse),
	"status_code_and_message":     onClient(grpcinterop.DoStatusCodeAndMessage),
	"special_status_message":      onClient(grpcinterop.DoSpecialStatusMessage),
	"custom_metadata":             onClient(grpcinterop.DoCustomMetadata),
	"unimplemented_method": func(ctx context.Context, conn *grpc.ClientConn, _ testpb.TestServiceClient) {
		grpcinterop.DoUnimplementedMethod(ctx, conn)
	},
	"unimplemented_service": func(ctx context.Context, conn *grpc.ClientConn, _ testpb.TestServiceClient) {
		grpcinterop.DoUnimplementedService(ctx, testpb.NewUnimplementedServiceClient(conn))
	},
}

func onClient(do func(context.Context, testpb.TestServiceClient, ...grpc.CallOption)) func(context.Context, *grpc.ClientConn, testpb.TestServiceClient) {
	return func(ctx context.Context, _ *grpc.ClientConn, client testpb.TestServiceClient) { do(ctx, client) }
}

// way is a server and how to reach it.
type way struct {
	options []easyops.ServerOption
	creds   credentials.TransportCredentials
}

func ways(t *testing.T) map[string]way {
	certs := serve.NewCerts(t)
	return map[string]way{
		"plaintext": {nil, insecure.NewCredentials()},
		"TLS": {
			[]easyops.ServerOption{easyops.WithTLSFiles(certs.Cert, certs.Key, "")},
			credentials.NewClientTLSFromCert(certs.Pool, "localhost"),
		},
	}
}

func start(t *testing.T, w way) (dial func() *grpc.ClientConn, addr string) {
	t.Helper()
	s := easyopstest.StartStandalone(t, []easyops.Service{interopeasyops.BindTestServiceServer(grpcinterop.NewTestServer())}, w.options...)
	addr = s.Addr().String()
	return func() *grpc.ClientConn {
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(w.creds))
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}, addr
}

func TestCases(t *testing.T) {
	for name, w := range ways(t) {
		dial, _ := start(t, w)
		for caseName, do := range cases {
			t.Run(name+"/"+caseName, func(t *testing.T) {
				conn := dial()
				defer conn.Close()
				do(t.Context(), conn, testpb.NewTestServiceClient(conn))
			})
		}
	}
}

// TestSoak makes many calls over one connection, and over one for each.
func TestSoak(t *testing.T) {
	for name, w := range ways(t) {
		dial, addr := start(t, w)
		for _, perCall := range []bool{false, true} {
			kind := map[bool]string{false: "rpc_soak", true: "channel_soak"}[perCall]
			t.Run(name+"/"+kind, func(t *testing.T) {
				shared := dial()
				defer shared.Close()
				grpcinterop.DoSoakTest(t.Context(), grpcinterop.SoakTestConfig{
					RequestSize: 271828, ResponseSize: 314159, PerIterationMaxAcceptableLatency: 10 * time.Second,
					OverallTimeout: 2 * time.Minute, ServerAddr: addr, NumWorkers: 4, Iterations: 100,
					ChannelForTest: func() (*grpc.ClientConn, func()) {
						if !perCall {
							return shared, func() {}
						}
						conn := dial()
						return conn, func() { _ = conn.Close() }
					},
				})
			})
		}
	}
}
