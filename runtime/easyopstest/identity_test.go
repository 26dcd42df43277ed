package easyopstest_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	greeterv1 "github.com/go-easyops/easyops/example/gen/greeter/v1"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/easyopstest"
)

// teller answers with who calls, as a service that looks at its caller does.
type teller struct {
	echov1.UnimplementedEchoServiceServer
}

func (teller) Echo(ctx context.Context, _ *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	return &echov1.EchoResponse{Message: whoCalls(ctx)}, nil
}

func (teller) Repeat(_ *echov1.RepeatRequest, stream grpc.ServerStreamingServer[echov1.RepeatResponse]) error {
	return stream.Send(&echov1.RepeatResponse{Message: whoCalls(stream.Context())})
}

func whoCalls(ctx context.Context) string {
	var who []string
	if u := auth.User(ctx); u != nil {
		who = append(who, "user "+u.ID+" in "+strings.Join(u.Groups, "+"))
	}
	if s := auth.Service(ctx); s != nil {
		who = append(who, "service "+s.ID)
	}
	return strings.Join(who, ", ")
}

func tellers() []easyops.Service {
	return []easyops.Service{echov1.BindEchoServiceServer(teller{})}
}

func dialEcho(t *testing.T, opts ...easyops.DialOption) echov1.EchoServiceClient {
	t.Helper()
	client, conn, err := echov1.DialEchoService(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return client
}

// within bounds what must not take long.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// TestAs: handlers see whom the client calls as, on calls and streams, and
// whichever option comes first.
func TestAs(t *testing.T) {
	alice, billing := easyopstest.AsUser("alice", "staff", "ops"), easyopstest.AsService("billing")
	const isAlice, isBilling = "user alice in staff+ops", "service billing"
	s := easyopstest.Start(t, tellers())
	for name, c := range map[string]struct {
		opts []easyops.DialOption
		want string
	}{
		"user":           {[]easyops.DialOption{alice}, isAlice},
		"service":        {[]easyops.DialOption{billing}, isBilling},
		"both":           {[]easyops.DialOption{alice, billing}, isAlice + ", " + isBilling},
		"service first":  {[]easyops.DialOption{billing, alice}, isAlice + ", " + isBilling},
		"the last user":  {[]easyops.DialOption{easyopstest.AsUser("bob"), alice}, isAlice},
		"the last again": {[]easyops.DialOption{easyopstest.AsService("audit"), billing}, isBilling},
		"strange names":  {[]easyops.DialOption{easyopstest.AsUser("Zoë \"X\" <z@example.org>", "a,b")}, `user Zoë "X" <z@example.org> in a,b`},
		"a SPIFFE ID":    {[]easyops.DialOption{easyopstest.AsService("spiffe://example.org/billing")}, "service spiffe://example.org/billing"},
	} {
		t.Run(name, func(t *testing.T) {
			client := dialEcho(t, append(c.opts, s.Client())...)
			for range 2 {
				resp, err := client.Echo(within(t), &echov1.EchoRequest{})
				if got := resp.GetMessage(); err != nil || got != c.want {
					t.Errorf("the handler of a call sees %q, %v, want %q", got, err, c.want)
				}
			}
			stream, err := client.Repeat(within(t), &echov1.RepeatRequest{})
			if err != nil {
				t.Fatal(err)
			}
			resp, err := stream.Recv()
			if got := resp.GetMessage(); err != nil || got != c.want {
				t.Errorf("the handler of a stream sees %q, %v, want %q", got, err, c.want)
			}
		})
	}
}

// TestNobody: who is not said to be someone is nobody, also to a server of
// another process, and with what is none of our tokens.
func TestNobody(t *testing.T) {
	s := easyopstest.Start(t, tellers())
	for name, opts := range map[string][]easyops.DialOption{
		"nobody":         nil,
		"no user":        {easyopstest.AsUser("")},
		"no token of us": {easyops.DialUserToken(func(context.Context) (string, error) { return "mine", nil })},
		"service's ID as user's": {easyops.DialUserToken(func(context.Context) (string, error) {
			return easyopstest.ServiceToken("billing") + "x", nil
		})},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := dialEcho(t, append(opts, s.Client())...).Echo(within(t), &echov1.EchoRequest{})
			if status.Code(err) != codes.Unauthenticated {
				t.Errorf("answered with %v", err)
			}
		})
	}
}

// TestStandalone: nobody is anybody where that is asked for, and rules pass.
func TestStandalone(t *testing.T) {
	s := easyopstest.StartStandalone(t, tellers())
	resp, err := dialEcho(t, s.Client()).Echo(within(t), &echov1.EchoRequest{})
	if err != nil || resp.GetMessage() != "" {
		t.Errorf("answered %v, %v", resp, err)
	}
	_, err = dialEcho(t, s.Client(), easyopstest.AsUser("alice")).Echo(within(t), &echov1.EchoRequest{})
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("a token, which nothing can verify: %v", err)
	}
}

// TestAddedAuthenticator: one that the test brings is asked as well.
func TestAddedAuthenticator(t *testing.T) {
	mine := auth.AuthenticatorFunc(func(_ context.Context, c auth.Credential) (auth.Identity, error) {
		if c.Token != "mine" {
			return auth.Identity{}, nil
		}
		return auth.Identity{User: &auth.Principal{ID: "me"}}, nil
	})
	s := easyopstest.Start(t, tellers(), easyops.WithAuthenticator(mine))
	for token, want := range map[string]string{"mine": "user me in ", easyopstest.UserToken("alice"): "user alice in "} {
		source := func(context.Context) (string, error) { return token, nil }
		resp, err := dialEcho(t, s.Client(), easyops.DialUserToken(source)).Echo(within(t), &echov1.EchoRequest{})
		if err != nil || resp.GetMessage() != want {
			t.Errorf("answered %v, %v, want %q", resp, err, want)
		}
	}
}

// relay is a service that calls another one.
type relay struct {
	greeterv1.UnimplementedGreeterServiceServer
	echo echov1.EchoServiceClient
}

func (r relay) Greet(ctx context.Context, _ *greeterv1.GreetRequest) (*greeterv1.GreetResponse, error) {
	resp, err := r.echo.Echo(ctx, &echov1.EchoRequest{})
	return &greeterv1.GreetResponse{Greeting: resp.GetMessage()}, err
}

// TestServiceThatCalls: a server whose client is AsService calls as that service
// in the name of the user who called it, and in no name where it was a service.
func TestServiceThatCalls(t *testing.T) {
	echo := easyopstest.Start(t, tellers())
	client := dialEcho(t, echo.Client(), easyopstest.AsService("greeter"))
	s := easyopstest.Start(t, []easyops.Service{greeterv1.BindGreeterServiceServer(relay{echo: client})})
	for want, as := range map[string]easyops.DialOption{
		"user alice in staff, service greeter": easyopstest.AsUser("alice", "staff"),
		"service greeter":                      easyopstest.AsService("billing"),
	} {
		greeter, conn, err := greeterv1.DialGreeterService(s.Client(), as)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		resp, err := greeter.Greet(within(t), &greeterv1.GreetRequest{})
		if err != nil || resp.GetGreeting() != want {
			t.Errorf("the second service sees %q, %v, want %q", resp.GetGreeting(), err, want)
		}
	}
}

// TestTokensForHTTP: handlers have the same callers.
func TestTokensForHTTP(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, whoCalls(r.Context())) })
	s := easyopstest.Start(t, tellers(), easyops.WithHTTP("/who", handler))
	for token, want := range map[string]string{
		"":                                    "401",
		easyopstest.UserToken("alice", "ops"): "200 user alice in ops",
		easyopstest.ServiceToken("billing"):   "200 service billing",
	} {
		req, err := http.NewRequestWithContext(within(t), http.MethodGet, "http://"+s.Addr().String()+"/who", nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got := resp.Status[:4] + string(body); err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("answered %q, %v, want %q", got, err, want)
		}
	}
}
