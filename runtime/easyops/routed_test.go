package easyops_test

import (
	"context"
	"flag"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/routing"
)

// The settings of this package reach package routing, whose tests have the rest.

// Tokens that nobody verifies.
const (
	tokenOfAlice = "e30.eyJzdWIiOiJhbGljZSJ9.c2ln" // {"sub":"alice"}
	tokenOfBob   = "e30.eyJzdWIiOiJib2IifQ.c2ln"   // {"sub":"bob"}
)

// TestPersonal: a user's calls go to her own instance, by clients that are told
// so, and nobody else's do.
func TestPersonal(t *testing.T) {
	dir := easyops.WithRegistry("local:" + shortDir(t))
	serveEcho(t, named{name: "plain"}, openly(dir)...)
	personal := serveEcho(t, named{name: "of alice"}, openly(dir, easyops.WithOwner("alice"))...)
	alice := auth.WithUserToken(t.Context(), tokenOfAlice)
	incomingAlice := context.WithValue(t.Context(), auth.ContextKey{}, &auth.Caller{
		Identity: auth.Identity{User: &auth.Principal{ID: "alice"}}, UserToken: "opaque",
	})
	told := dialEcho(t, apart(dir, easyops.WithPersonal()))
	for ctx := within(t, 10*time.Second); whoSays(t, alice, told) != "of alice"; { // until both are listed
		if ctx.Err() != nil {
			t.Fatal("her calls never reach her instance")
		}
	}
	for _, test := range []struct {
		name string
		opts []easyops.DialOption
		ctx  context.Context
		want string
	}{
		{"alice, told", []easyops.DialOption{easyops.WithPersonal()}, alice, "of alice"},
		{"incoming, told", []easyops.DialOption{easyops.WithPersonal()}, incomingAlice, "of alice"},
		{"dialled, told", []easyops.DialOption{easyops.WithPersonal(), fixed(tokenOfAlice, nil)}, t.Context(), "of alice"},
		{"without her, told", []easyops.DialOption{easyops.WithPersonal()}, auth.WithoutUser(incomingAlice), "plain"},
		{"bob, told", []easyops.DialOption{easyops.WithPersonal()}, auth.WithUserToken(t.Context(), tokenOfBob), "plain"},
		{"nobody, told", []easyops.DialOption{easyops.WithPersonal()}, t.Context(), "plain"},
		{"alice, not told", nil, alice, "plain"},
		{"dialled, not told", []easyops.DialOption{fixed(tokenOfAlice, nil)}, t.Context(), "plain"},
	} {
		client := dialEcho(t, append(test.opts, apart(dir))...)
		for range 10 {
			if got := whoSays(t, test.ctx, client); got != test.want {
				t.Errorf("%s: went to %q, want %q", test.name, got, test.want)
			}
		}
	}
	if err := personal.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if got := whoSays(t, alice, told); got != "plain" {
		t.Errorf("went to %q once hers has ended", got)
	}
}

func whoSays(t *testing.T, ctx context.Context, client echov1.EchoServiceClient) string {
	t.Helper()
	resp, err := client.Echo(ctx, &echov1.EchoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetMessage()
}

// TestZone: a client prefers its own zone, which it is told with the tags of the
// process. Tags of calls are the program's.
func TestZone(t *testing.T) {
	url := "local:" + shortDir(t)
	dir := easyops.WithRegistry(url)
	serveEcho(t, named{name: "a"}, dir, easyops.WithTags("zone", "a"))
	serveEcho(t, named{name: "b"}, dir, easyops.WithTags("zone", "b"))
	serveEcho(t, named{name: "canary"}, dir, easyops.WithTags("zone", "b", "track", "canary"))
	hear(t, dialEcho(t, apart(dir)), "a", "b") // a client without a zone
	for zone, want := range map[string]string{"zone=a": "a", "rack=1,zone=b": "b"} {
		fs := flag.NewFlagSet("", flag.ContinueOnError)
		easyops.RegisterFlags(fs)
		if err := fs.Parse([]string{"-easyops.tags=" + zone, "-easyops.registry=" + url}); err != nil {
			t.Fatal(err)
		}
		client := dialEcho(t, easyops.WithFlags(fs))
		for range 10 {
			if got := whoSays(t, t.Context(), client); got != want {
				t.Errorf("%s: went to %q", zone, got)
			}
		}
		canary := routing.WithTags(t.Context(), map[string]string{"track": "canary"})
		if got := whoSays(t, canary, client); got != "canary" {
			t.Errorf("%s: with tags it went to %q", zone, got)
		}
	}
}

// TestDialSubset: of many instances a client connects to a few.
func TestDialSubset(t *testing.T) {
	dir := easyops.WithRegistry("local:" + shortDir(t))
	names := []string{"a", "b", "c", "d"}
	for _, name := range names {
		serveEcho(t, named{name: name}, dir)
	}
	hear(t, dialEcho(t, apart(dir), easyops.DialSubset(-1)), names...)
	client := dialEcho(t, apart(dir), easyops.DialSubset(1))
	first := whoSays(t, t.Context(), client)
	for range 30 {
		if got := whoSays(t, t.Context(), client); got != first {
			t.Errorf("went to %q as well as to %q", got, first)
		}
	}
	for _, n := range []int{0, -2} {
		conn, err := easyops.Dial(echoName, apart(dir), easyops.DialSubset(n))
		if err == nil {
			conn.Close()
			t.Errorf("dialled a subset of %d", n)
		} else {
			mustContain(t, err.Error(), "DialSubset")
		}
	}
}

// flaky fails the first call that it gets.
type flaky struct {
	echo
	calls *atomic.Int32
}

var errFlaky = status.Error(codes.Unavailable, "not now")

func (f flaky) Echo(ctx context.Context, req *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	if f.calls.Add(1) == 1 {
		return nil, errFlaky
	}
	return f.echo.Echo(ctx, req)
}

func (f flaky) Repeat(*echov1.RepeatRequest, grpc.ServerStreamingServer[echov1.RepeatResponse]) error {
	if f.calls.Add(1) == 1 {
		return errFlaky
	}
	return nil
}

// TestRetry: only methods that say so are called twice.
func TestRetry(t *testing.T) {
	dir := easyops.WithRegistry("local:" + shortDir(t))
	var calls atomic.Int32
	for range 2 {
		serveEcho(t, flaky{calls: &calls}, dir)
	}
	client := dialEcho(t, apart(dir))
	say(t, client, "hi")
	if n := calls.Load(); n != 2 {
		t.Errorf("the call came %d times", n)
	}
	calls.Store(0)
	stream, err := client.Repeat(t.Context(), &echov1.RepeatRequest{Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v", err)
	}
	if n := calls.Load(); n != 1 {
		t.Errorf("a call that must not be sent again came %d times", n)
	}
}
