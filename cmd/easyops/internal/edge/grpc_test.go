package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// calling starts a service and an edge before it, and returns a client of alice's.
func (p *place) calling(s echoServer, route string) (echov1.EchoServiceClient, context.Context) {
	p.t.Helper()
	p.behind([]easyops.Service{echov1.BindEchoServiceServer(s)}, easyops.WithGRPC(grpc.MaxRecvMsgSize(64<<20)))
	e := p.edge("grpc:\n- {" + route + "}\n")
	ctx := metadata.AppendToOutgoingContext(p.t.Context(), "authorization", "Bearer user-alice")
	return echov1.NewEchoServiceClient(connect(p.t, e.Addr(), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))), ctx
}

// say makes a call and returns the answer.
func sayTo(ctx context.Context, c echov1.EchoServiceClient, message string, opts ...grpc.CallOption) (string, error) {
	r, err := c.Echo(ctx, &echov1.EchoRequest{Message: message}, opts...)
	return r.GetMessage(), err
}

func TestUnaryCalls(t *testing.T) {
	p := newPlace(t)
	c, ctx := p.calling(echoServer{}, `service: "*"`)
	long, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, call := range []struct {
		ctx           context.Context
		message, want string
		opts          []grpc.CallOption
	}{
		{ctx, "hello", "hello", nil},
		{ctx, "", "", nil},
		{ctx, "who", "alice", nil},
		{ctx, "metadata authorization", "Bearer user-alice", nil},
		{ctx, "metadata x-forwarded-for", "127.0.0.1", nil},
		{ctx, "metadata x-forwarded-proto", "http", nil},
		{metadata.AppendToOutgoingContext(ctx, "x-forwarded-for", "1.2.3.4", "x-remote-user", "root"), "metadata x-forwarded-for", "127.0.0.1", nil},
		{metadata.AppendToOutgoingContext(ctx, "x-remote-user", "root"), "metadata x-remote-user", "", nil},
		{metadata.AppendToOutgoingContext(ctx, "easyops-service-authorization", "Bearer service-billing"), "metadata easyops-service-authorization", "", nil},
		{metadata.AppendToOutgoingContext(ctx, "x-own", "1", "x-own", "2"), "metadata x-own", "1|2", nil},
		{metadata.AppendToOutgoingContext(ctx, "x-bin", "\x00\xff"), "metadata x-bin", "\x00\xff", nil},
		{ctx, "deadline", "false false true", nil},
		{long, "deadline", "true true true", nil},
		{ctx, "compressed", "", nil},
		{ctx, "compressed", "gzip", []grpc.CallOption{grpc.UseCompressor("gzip")}},
	} {
		if call.message == "metadata x-bin" {
			call.ctx, call.want = metadata.AppendToOutgoingContext(ctx, "x-bin", "abc"), "abc"
		}
		if got, err := sayTo(call.ctx, c, call.message, call.opts...); err != nil || got != call.want {
			t.Errorf("%s: %q, %v, want %q", call.message, got, err, call.want)
		}
	}
}

// Headers, trailers and the details of a status come back as they are.
func TestHeadersTrailersAndDetails(t *testing.T) {
	p := newPlace(t)
	c, ctx := p.calling(echoServer{}, "service: echo.v1.EchoService")
	var header, trailer metadata.MD
	if _, err := sayTo(ctx, c, "headers", grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(header["x-own"], []string{"1", "2"}) || !slices.Equal(header["x-bin"], []string{"\x00\xff"}) || !slices.Equal(trailer["x-after"], []string{"3"}) || !slices.Equal(trailer["x-after-bin"], []string{"\x01"}) {
		t.Errorf("header %v, trailer %v", header, trailer)
	}
	if !slices.Equal(header["content-type"], []string{"application/grpc"}) {
		t.Errorf("content type %v", header["content-type"])
	}
	_, err := sayTo(ctx, c, "fail", grpc.Trailer(&trailer))
	st := status.Convert(err)
	if st.Code() != codes.FailedPrecondition || st.Message() != "häh? 100%" || len(st.Details()) != 1 || st.Details()[0].(*echov1.EchoRequest).GetMessage() != "R" || !slices.Equal(trailer["x-after"], []string{"1"}) {
		t.Errorf("%v %v %v", st, st.Details(), trailer)
	}
}

func TestStreamingCalls(t *testing.T) {
	p := newPlace(t)
	c, ctx := p.calling(echoServer{}, "service: echo.v1.*")
	t.Run("of the server", func(t *testing.T) {
		s, err := c.Repeat(ctx, &echov1.RepeatRequest{Message: "m", Count: 1000})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for ; ; n++ {
			if _, err = s.Recv(); err != nil {
				break
			}
		}
		header, _ := s.Header()
		if !errors.Is(err, io.EOF) || n != 1000 || header["x-own"] == nil || s.Trailer()["x-after"] == nil {
			t.Errorf("%d messages, %v, %v, %v", n, err, header, s.Trailer())
		}
		if s, err = c.Repeat(ctx, &echov1.RepeatRequest{Count: -1}); err == nil {
			_, err = s.Recv()
		}
		if status.Code(err) != codes.InvalidArgument || s.Trailer()["x-after"] == nil {
			t.Errorf("%v %v", err, s.Trailer())
		}
	})
	t.Run("of the client", func(t *testing.T) {
		s, err := c.Collect(ctx)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.TrimSuffix(strings.Repeat("m\n", 1000), "\n")
		for range 1000 {
			if err := s.Send(&echov1.CollectRequest{Message: "m"}); err != nil {
				t.Fatal(err)
			}
		}
		if r, err := s.CloseAndRecv(); err != nil || r.GetMessage() != want {
			t.Errorf("%d bytes, %v", len(r.GetMessage()), err)
		}
		// The server may end the call while the client still sends.
		if s, err = c.Collect(ctx); err != nil {
			t.Fatal(err)
		}
		for err = nil; err == nil; {
			err = s.Send(&echov1.CollectRequest{Message: "enough"})
		}
		if _, err := s.CloseAndRecv(); status.Code(err) != codes.OutOfRange {
			t.Error(err)
		}
	})
	t.Run("both ways", func(t *testing.T) {
		s, err := c.Chat(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 100 { // each is answered before the next one is sent
			if err := s.Send(&echov1.ChatRequest{Message: fmt.Sprint(n)}); err != nil {
				t.Fatal(err)
			}
			if r, err := s.Recv(); err != nil || r.GetMessage() != fmt.Sprint(n) {
				t.Fatal(r, err)
			}
		}
		if err := s.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if r, err := s.Recv(); err != nil || r.GetMessage() != "bye" {
			t.Error(r, err)
		}
		if _, err := s.Recv(); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
}

// A call that its client gives up, or whose deadline passes, ends behind the edge too.
func TestCancelReachesTheMethod(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(context.Context) (context.Context, context.CancelFunc)
		want codes.Code
	}{
		{"cancel", context.WithCancel, codes.Canceled},
		{"deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 300*time.Millisecond)
		}, codes.DeadlineExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t)
			s := echoServer{began: make(chan struct{}), ended: make(chan error, 1)}
			client, ctx := p.calling(s, `service: "*"`)
			ctx, cancel := c.end(ctx)
			defer cancel()
			if c.want == codes.Canceled {
				go func() { <-s.began; cancel() }()
			}
			if _, err := sayTo(ctx, client, "wait"); status.Code(err) != c.want {
				t.Error(err)
			}
			select {
			case <-s.ended:
			case <-time.After(10 * time.Second):
				t.Error("the service goes on")
			}
		})
	}
}

// Messages are as long as the route lets them be, in either direction, and no longer.
func TestLongMessages(t *testing.T) {
	p := newPlace(t)
	c, ctx := p.calling(echoServer{}, "service: echo.v1.EchoService, max_message: 5MiB")
	for _, size := range []int{100_000, 5<<20 - 10} {
		text := strings.Repeat("x", size)
		if got, err := sayTo(ctx, c, text); err != nil || got != text {
			t.Errorf("%d bytes: %d bytes back, %v", size, len(got), err)
		}
	}
	if _, err := sayTo(ctx, c, strings.Repeat("x", 5<<20+1)); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message that is too long: %.200v", err)
	}
	small := newPlace(t)
	c, ctx = small.calling(echoServer{}, "service: echo.v1.EchoService, max_message: 1000")
	if _, err := sayTo(ctx, c, strings.Repeat("x", 1001)); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message that is too long for the route: %.200v", err)
	}
	gzip := grpc.UseCompressor("gzip")
	if _, err := sayTo(ctx, c, strings.Repeat("x", 100_000), gzip); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message that is short only while it is compressed: %.200v", err)
	}
	if got, err := sayTo(ctx, c, strings.Repeat("x", 900), gzip); err != nil || len(got) != 900 {
		t.Errorf("a compressed message: %d bytes back, %v", len(got), err)
	}
	s, err := c.Repeat(ctx, &echov1.RepeatRequest{Message: strings.Repeat("x", 900), Count: 5})
	for n := 0; err == nil; n++ {
		if _, err = s.Recv(); errors.Is(err, io.EOF) && n == 5 {
			break
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// The routes of a call, and those who may not go by them.
func TestWhichCalls(t *testing.T) {
	p := newPlace(t)
	p.behind([]easyops.Service{echov1.BindEchoServiceServer(echoServer{})})
	e := p.edge(`grpc:
- {service: echo.v1.EchoService, groups: [staff]}
- {service: echo.*, host: open.example.com, allow: EVERYONE}
- {service: other.v1.*, allow: EVERYONE, connect_timeout: 200ms}
`)
	invoke := func(method, token, host string) codes.Code {
		ctx := t.Context()
		if token != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
		}
		cc := connect(t, e.Addr(), grpc.WithAuthority(host))
		return status.Code(cc.Invoke(ctx, method, &echov1.EchoRequest{}, &echov1.EchoResponse{}))
	}
	for _, c := range []struct {
		method, token, host string
		want                codes.Code
	}{
		{"/echo.v1.EchoService/Echo", "user-alice", "x", codes.OK},
		{"/echo.v1.EchoService/Echo", "user-bob", "x", codes.PermissionDenied},
		{"/echo.v1.EchoService/Echo", "", "x", codes.Unauthenticated},
		{"/echo.v1.EchoService/Echo", "forged", "x", codes.Unauthenticated},
		{"/echo.v1.EchoService/Echo", "user-bob", "Open.example.com:443", codes.OK},
		{"/echo.v1.EchoService/Echo", "", "open.example.com", codes.Unauthenticated}, // by the service itself
		{"/echo.v1.EchoService/Nothing", "user-alice", "x", codes.Unimplemented},
		{"/unknown.v1.Service/Echo", "user-alice", "x", codes.Unimplemented},
		{"/unknown.v1.Service/Echo", "", "x", codes.Unauthenticated},
		{"/other.v1.Service/Echo", "", "x", codes.Unavailable},
		{"/echo.v1.EchoService/../internal", "user-alice", "x", codes.Unimplemented},
		{"/echo.v1.EchoService/%2e%2e/internal", "user-alice", "x", codes.Unimplemented},
		{"/echo.v1.EchoService/", "user-alice", "x", codes.Unimplemented},
		{"/echo.v1.Echo Service/Echo", "user-alice", "open.example.com", codes.Unimplemented},
		{"/grpc.health.v1.Health/Check", "", "x", codes.OK}, // the edge's own
		{"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "", "x", codes.Unauthenticated},
	} {
		if got := invoke(c.method, c.token, c.host); got != c.want {
			t.Errorf("%s of %q at %s: %v, want %v", c.method, c.token, c.host, got, c.want)
		}
	}
	<-e.server.Ready() // that is when the registry has answered
	r, err := healthpb.NewHealthClient(connect(t, e.Addr())).Check(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil || r.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Error(r, err)
	}
}
