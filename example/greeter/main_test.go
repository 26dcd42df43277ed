package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	greeterv1 "github.com/go-easyops/easyops/example/gen/greeter/v1"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/easyopstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers what it hears, and keeps who has called.
type echo struct {
	echov1.UnimplementedEchoServiceServer
	callers []string
	err     error
}

func (e *echo) Echo(ctx context.Context, req *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	e.callers = append(e.callers, auth.CallerFrom(ctx).String())
	return &echov1.EchoResponse{Message: req.GetMessage()}, e.err
}

// serve starts the greeter and the echo that it calls, and returns what dials the
// greeter.
func serve(t *testing.T, e *echo) (dial func(...easyops.DialOption) greeterv1.GreeterServiceClient) {
	t.Helper()
	other := easyopstest.Start(t, []easyops.Service{echov1.BindEchoServiceServer(e)})
	client, conn, err := echov1.DialEchoService(other.Client(), easyopstest.AsService("greeter"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s := easyopstest.Start(t, []easyops.Service{greeterv1.BindGreeterServiceServer(&greeter{echo: client})})
	return func(as ...easyops.DialOption) greeterv1.GreeterServiceClient {
		client, conn, err := greeterv1.DialGreeterService(append(as, s.Client())...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return client
	}
}

// TestAccess: each method is for whom the .proto file says.
func TestAccess(t *testing.T) {
	easyopstest.AccessMatrix(t, greeterv1.BindGreeterServiceServer(&greeter{}))
}

func TestGreet(t *testing.T) {
	e := &echo{}
	alice := serve(t, e)(easyopstest.AsUser("alice"))
	resp, err := alice.Greet(t.Context(), &greeterv1.GreetRequest{Name: "Bob"})
	if err != nil || resp.GetGreeting() != "Hello, Bob" {
		t.Errorf("heard %v, %v", resp, err)
	}
	mine, err := alice.GreetMe(t.Context(), &greeterv1.GreetMeRequest{})
	if err != nil || mine.GetGreeting() != "Hello, alice" {
		t.Errorf("heard %v, %v", mine, err)
	}
	if want := []string{"user alice by service greeter", "user alice by service greeter"}; !slices.Equal(e.callers, want) {
		t.Errorf("echo was called by %q, want %q", e.callers, want)
	}
}

// TestGreetMeStandalone: where nobody is known, nobody is greeted by name.
func TestGreetMeStandalone(t *testing.T) {
	other := easyopstest.StartStandalone(t, []easyops.Service{echov1.BindEchoServiceServer(&echo{})})
	client, conn, err := echov1.DialEchoService(other.Client())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	g := &greeter{echo: client}
	resp, err := g.GreetMe(t.Context(), &greeterv1.GreetMeRequest{})
	if err != nil || resp.GetGreeting() != "Hello, whoever you are" {
		t.Errorf("heard %v, %v", resp, err)
	}
}

func TestGreetAll(t *testing.T) {
	alice := serve(t, &echo{})(easyopstest.AsUser("alice", "staff"))
	names := []string{"Bob", "Carol"}
	stream, err := alice.GreetAll(t.Context(), &greeterv1.GreetAllRequest{Names: names})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		resp, err := stream.Recv()
		if err != nil || resp.GetGreeting() != "Hello, "+name {
			t.Errorf("heard %v, %v", resp, err)
		}
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ends with %v", err)
	}
}

// TestCount: greetings are counted until they are reset, and those that came to
// nothing are none.
func TestCount(t *testing.T) {
	e := &echo{}
	dial := serve(t, e)
	alice, billing := dial(easyopstest.AsUser("alice")), dial(easyopstest.AsService("billing"))
	for range 2 {
		if _, err := alice.GreetMe(t.Context(), &greeterv1.GreetMeRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	e.err = status.Error(codes.ResourceExhausted, "enough")
	if _, err := alice.GreetMe(t.Context(), &greeterv1.GreetMeRequest{}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("the error of echo comes as %v", err)
	}
	count, err := billing.CountGreetings(t.Context(), &greeterv1.CountGreetingsRequest{})
	if err != nil || count.GetCount() != 2 {
		t.Errorf("counted %v, %v", count, err)
	}
	for _, want := range []int64{2, 0} {
		reset, err := billing.ResetGreetings(t.Context(), &greeterv1.ResetGreetingsRequest{})
		if err != nil || reset.GetCount() != want {
			t.Errorf("the reset tells %v, %v, want %d", reset, err, want)
		}
	}
}

// TestLanguages is for everyone.
func TestLanguages(t *testing.T) {
	resp, err := serve(t, &echo{})().GetLanguages(t.Context(), &greeterv1.GetLanguagesRequest{})
	if err != nil || !slices.Equal(resp.GetTags(), []string{"en"}) {
		t.Errorf("heard %v, %v", resp, err)
	}
}

// TestStart: the whole program starts and stops, its connection with it.
func TestStart(t *testing.T) {
	t.Setenv("EASYOPS_ADDR", "127.0.0.1:0")
	t.Setenv("EASYOPS_REGISTRY", "local:"+t.TempDir())
	t.Setenv("EASYOPS_LOG_LEVEL", "error")
	s, err := start()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	t.Setenv("EASYOPS_REGISTRY", "nowhere:")
	if s, err := start(); err == nil {
		_ = s.Shutdown(t.Context())
		t.Error("started without a registry that there is")
	}
}
