package easyops_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// named is an echo that says who it is.
type named struct {
	echov1.UnimplementedEchoServiceServer
	name string
}

func (n named) Echo(context.Context, *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	return &echov1.EchoResponse{Message: n.name}, nil
}

// TestBalance: calls go to every instance, and on when one stops.
func TestBalance(t *testing.T) {
	dir := easyops.WithRegistry("local:" + shortDir(t))
	servers := map[string]*easyops.Server{}
	for _, name := range []string{"a", "b", "c"} {
		servers[name] = serveEcho(t, named{name: name}, dir)
	}
	client := dialEcho(t, apart(dir))
	hear(t, client, "a", "b", "c")
	if err := servers["b"].Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	for range 30 {
		if name := who(t, client); name == "b" {
			t.Error("a call went to a server that has stopped")
		}
	}
	servers["d"] = serveEcho(t, named{name: "d"}, dir)
	hear(t, client, "a", "c", "d")
}

// serveEcho serves an implementation, apart from everything but a registry.
func serveEcho(t *testing.T, impl echov1.EchoServiceServer, opts ...easyops.ServerOption) *easyops.Server {
	t.Helper()
	s, err := echov1.StartEchoServiceServer(impl, append([]easyops.ServerOption{apart()}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func who(t *testing.T, client echov1.EchoServiceClient) string {
	t.Helper()
	resp, err := client.Echo(within(t, 10*time.Second), &echov1.EchoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetMessage()
}

// hear calls until each of the servers has answered.
func hear(t *testing.T, client echov1.EchoServiceClient, names ...string) {
	t.Helper()
	missing := map[string]bool{}
	for _, name := range names {
		missing[name] = true
	}
	for deadline := time.Now().Add(10 * time.Second); len(missing) > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("never heard from %v", missing)
		}
		delete(missing, who(t, client))
	}
}

// TestServerComesLater: a call waits for an instance.
func TestServerComesLater(t *testing.T) {
	dir := easyops.WithRegistry("local:" + shortDir(t))
	client := dialEcho(t, apart(dir))
	heard := make(chan error, 1)
	go func() {
		_, err := client.Echo(within(t, 10*time.Second), &echov1.EchoRequest{})
		heard <- err
	}()
	serveEcho(t, echo{}, dir)
	if err := <-heard; err != nil {
		t.Error(err)
	}
}

// TestNoInstance: the error names the service and the registry. The 30 s that
// a call without a deadline waits are tested with the resolver.
func TestNoInstance(t *testing.T) {
	dir := shortDir(t)
	client := dialEcho(t, apart(easyops.WithRegistry("local:"+dir)))
	_, err := client.Echo(within(t, time.Second), &echov1.EchoRequest{})
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("code %v", status.Code(err))
	}
	mustContain(t, err.Error(), echoName, dir)
	mustContain(t, fails(t, client).Error(), echoName, dir)
}

// TestDialTarget: the registry is not asked, whatever it is.
func TestDialTarget(t *testing.T) {
	s := serveEcho(t, echo{})
	say(t, dialEcho(t, apart(), easyops.DialTarget(s.Addr().String())), "by address")
	say(t, dialEcho(t, apart(easyops.WithRegistry("zookeeper://host")), easyops.DialTarget("passthrough:///"+s.Addr().String())), "by scheme")
	client := dialEcho(t, apart(), easyops.DialTarget("127.0.0.1:1"))
	mustContain(t, noConnection(t, client).Error(), echoName, "127.0.0.1:1", "refused")
}

// TestDialGRPC: options of grpc-go reach it.
func TestDialGRPC(t *testing.T) {
	s := startEcho(t)
	var methods []string
	note := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		methods = append(methods, method)
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	say(t, dialEcho(t, s.Client(), easyops.DialGRPC(grpc.WithUnaryInterceptor(note))), "hi")
	if got := strings.Join(methods, " "); got != "/echo.v1.EchoService/Echo" {
		t.Errorf("the interceptor saw %q", got)
	}
}

// TestDialFaults: all at once, with the service's name.
func TestDialFaults(t *testing.T) {
	for name, test := range map[string]struct {
		service string
		opts    []easyops.DialOption
		want    []string
	}{
		"no registry": {echoName, nil, []string{"-easyops.registry", "EASYOPS_REGISTRY", "none", "DialTarget"}},
		"no service":  {"", []easyops.DialOption{easyops.WithRegistry("local")}, []string{"service name"}},
		"bad service": {"a/b", []easyops.DialOption{easyops.WithRegistry("local")}, []string{"a/b"}},
		"two":         {echoName, []easyops.DialOption{easyops.WithTLSFiles("", "", "/missing")}, []string{"/missing", "-easyops.registry"}},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := easyops.Dial(test.service, append([]easyops.DialOption{apart()}, test.opts...)...)
			if err == nil {
				conn.Close()
				t.Fatal("dialled")
			}
			mustContain(t, err.Error(), append(test.want, "dial "+test.service)...)
		})
	}
}

// TestCloseEndsCalls: whoever waits for an instance is let go.
func TestCloseEndsCalls(t *testing.T) {
	client, conn, err := echov1.DialEchoService(apart(easyops.WithRegistry("local:" + shortDir(t))))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := client.Echo(t.Context(), &echov1.EchoRequest{})
		ended <- err
	}()
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		if code := status.Code(err); code != codes.Canceled && code != codes.Unavailable {
			t.Errorf("ended with %v", err)
		}
	case <-within(t, 5*time.Second).Done():
		t.Error("the call goes on")
	}
}
