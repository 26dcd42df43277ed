package easyops

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/auth"
)

// byWord is an authenticator whose tokens say who they are of, such as
// "user alice staff" with a group and "service billing"; "for" and a duration at
// the end is how long from now.
var byWord = auth.AuthenticatorFunc(func(_ context.Context, c auth.Credential) (auth.Identity, error) {
	if len(c.Certs) > 0 {
		return auth.Identity{Service: &auth.Principal{ID: c.Certs[0].Subject.CommonName}}, nil
	}
	words := strings.Split(c.Token, ".")
	if len(words) < 2 {
		return auth.Identity{}, errors.New("the canary has sung: " + words[0])
	}
	p := &auth.Principal{ID: words[1]}
	if rest := words[2:]; len(rest) > 1 && rest[0] == "for" {
		d, err := time.ParseDuration(rest[1])
		if err != nil {
			return auth.Identity{}, err
		}
		p.Expires = time.Now().Add(d)
	} else {
		p.Groups = rest
	}
	switch words[0] {
	case "user":
		return auth.Identity{User: p}, nil
	case "service":
		return auth.Identity{Service: p}, nil
	}
	return auth.Identity{}, nil
})

// as returns a context whose calls present tokens: of a user, or of a service
// that calls for itself, and of a service beside it.
func as(ctx context.Context, tokens ...string) context.Context {
	for i, header := range []string{auth.UserHeader, auth.ServiceHeader} {
		if i < len(tokens) && tokens[i] != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, header, "Bearer "+tokens[i])
		}
	}
	return ctx
}

// allKinds calls a method of each kind and returns the codes.
func allKinds(ctx context.Context, client testpb.TestServiceClient) map[string]codes.Code {
	_, unary := client.UnaryCall(ctx, &testpb.SimpleRequest{})
	down, err := client.StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{})
	if err == nil {
		_, err = down.Recv()
	}
	up, upErr := client.StreamingInputCall(ctx)
	if upErr == nil {
		_, upErr = up.CloseAndRecv()
	}
	duplex, duplexErr := client.FullDuplexCall(ctx)
	if duplexErr == nil {
		_ = duplex.CloseSend()
		if _, duplexErr = duplex.Recv(); errors.Is(duplexErr, io.EOF) {
			duplexErr = nil
		}
	}
	return map[string]codes.Code{"unary": status.Code(unary), "down": status.Code(err), "up": status.Code(upErr), "duplex": status.Code(duplexErr)}
}

func TestIdentityMeetsTheRule(t *testing.T) {
	users, staff := auth.Access{Allow: auth.Users}, auth.Access{Groups: []string{"staff"}}
	services, billing := auth.Access{Allow: auth.Services}, auth.Access{Services: []string{"billing"}}
	everyone, anyone := auth.Access{Allow: auth.Everyone}, auth.Access{}
	const ok, anonymous, denied = codes.OK, codes.Unauthenticated, codes.PermissionDenied
	for _, test := range []struct {
		name   string
		tokens []string
		want   map[*auth.Access]codes.Code
	}{
		{"nobody", nil, map[*auth.Access]codes.Code{&anyone: anonymous, &users: anonymous, &staff: anonymous, &services: anonymous, &billing: anonymous, &everyone: ok}},
		{"user", []string{"user.bob"}, map[*auth.Access]codes.Code{&anyone: ok, &users: ok, &staff: denied, &services: denied, &billing: denied, &everyone: ok}},
		{"user in group", []string{"user.alice.staff"}, map[*auth.Access]codes.Code{&anyone: ok, &users: ok, &staff: ok, &services: denied, &billing: denied, &everyone: ok}},
		{"service", []string{"service.billing"}, map[*auth.Access]codes.Code{&anyone: ok, &users: denied, &staff: denied, &services: ok, &billing: ok, &everyone: ok}},
		{"service beside", []string{"", "service.billing"}, map[*auth.Access]codes.Code{&anyone: ok, &users: denied, &staff: denied, &services: ok, &billing: ok, &everyone: ok}},
		{"both", []string{"user.alice.staff", "service.shop"}, map[*auth.Access]codes.Code{&anyone: ok, &users: ok, &staff: ok, &services: ok, &billing: denied, &everyone: ok}},
		{"forged", []string{"forged"}, map[*auth.Access]codes.Code{&anyone: anonymous, &users: anonymous, &everyone: ok}},
		{"user as service", []string{"", "user.alice"}, map[*auth.Access]codes.Code{&anyone: anonymous, &users: anonymous, &everyone: ok}},
	} {
		for access, want := range test.want {
			t.Run(fmt.Sprintf("%s/%v", test.name, access), func(t *testing.T) {
				eachWay(t, func(t *testing.T, w way) {
					r := newRig(t, w, &funcs{}, WithAuthenticator(byWord), WithAccess(testServiceName, *access))
					for kind, got := range allKinds(as(t.Context(), test.tokens...), r.client()) {
						if got != want {
							t.Errorf("%s: %v, want %v", kind, got, want)
						}
					}
				})
			})
		}
	}
}

// A handler, interceptors and the context of a stream know who calls.
func TestHandlersKnowWhoCalls(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		seen := map[string]string{}
		note := func(where string, ctx context.Context) { seen[where] = auth.CallerFrom(ctx).String() }
		impl := &funcs{
			unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
				note("unary", ctx)
				if !auth.InGroup(ctx, "staff") || auth.InGroup(ctx, "other") {
					t.Error("groups")
				}
				if token, given := auth.UserToken(ctx); token != "user.alice.staff" || given {
					t.Errorf("user token %q, %v", token, given)
				}
				return &testpb.SimpleResponse{}, nil
			},
			duplex: func(s duplex) error { note("stream", s.Context()); return nil },
		}
		r := newRig(t, w, impl, WithAuthenticator(byWord), WithGRPC(
			grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
				note("unary interceptor", ctx)
				return h(ctx, req)
			}),
			grpc.ChainStreamInterceptor(func(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, h grpc.StreamHandler) error {
				note("stream interceptor", s.Context())
				return h(srv, s)
			})),
			WithHTTP("/who", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { note("http", r.Context()) })))
		for kind, code := range allKinds(as(t.Context(), "forged"), r.client()) {
			wantEqual(t, kind, code, codes.Unauthenticated)
		}
		wantEqual(t, "reached by who is refused", len(seen), 0)
		allKinds(as(t.Context(), "user.alice.staff", "service.shop"), r.client())
		wantEqual(t, "status", r.ask("/who", "user.alice.staff", "service.shop").code, http.StatusOK)
		for _, where := range []string{"unary", "stream", "unary interceptor", "stream interceptor", "http"} {
			wantEqual(t, where, seen[where], "user alice by service shop")
		}
	})
}

// A caller learns that it is refused and not why; the log has the cause and the
// peer, and the token nowhere.
func TestCauseIsForTheLog(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{}, WithAuthenticator(byWord), WithAccess(unaryMethod, auth.Access{Groups: []string{"staff"}}))
		client := r.client()
		_, err := client.UnaryCall(as(t.Context(), "forged"), &testpb.SimpleRequest{})
		wantEqual(t, "forged", status.Convert(err).Message(), refusedNoToken.Message())
		_, err = client.UnaryCall(as(t.Context(), "user.bob"), &testpb.SimpleRequest{})
		wantEqual(t, "denied", status.Convert(err).Message(), refusedWrong.Message())
		lines := r.log.lines("call")
		if len(lines) != 2 {
			t.Fatalf("%d lines", len(lines))
		}
		for i, want := range []string{"the canary has sung", "the user is in none of the groups staff"} {
			if got := lines[i].text("err"); !strings.Contains(got, want) {
				t.Errorf("err=%q, want %q", got, want)
			}
			if lines[i].text("peer") == "" {
				t.Error("no peer")
			}
		}
		wantEqual(t, "user", lines[1].text("user"), "bob")
	})
}

// Standalone nothing can verify a token, so one that is presented is refused.
func TestTokensStandalone(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{}, WithAccess(downMethod, auth.Access{Allow: auth.Everyone}), WithHTTP("/mine", http.NotFoundHandler()))
		client := r.client()
		for kind, got := range allKinds(t.Context(), client) {
			wantEqual(t, kind, got, codes.OK)
		}
		for _, tokens := range [][]string{{"user.alice"}, {"", "service.shop"}} {
			for kind, got := range allKinds(as(t.Context(), tokens...), client) {
				want := codes.Unauthenticated
				if kind == "down" {
					want = codes.OK
				}
				wantEqual(t, kind, got, want)
			}
			a := r.ask("/mine", tokens...)
			wantEqual(t, "http", a.code, http.StatusUnauthorized)
			wantEqual(t, "challenge", a.header.Get("WWW-Authenticate"), "Bearer")
		}
	})
}

// One function says what callers learn, whatever authenticators call their
// errors.
func TestRefusal(t *testing.T) {
	odd := fmt.Errorf("%w: token: %w", auth.ErrUnauthenticated, auth.ErrDenied)
	for _, test := range []struct {
		trust trust
		err   error
		code  codes.Code
		http  int
	}{
		{authenticated, auth.Access{}.Check(auth.Identity{}), codes.Unauthenticated, 401},
		{authenticated, auth.Access{Allow: auth.Users}.Check(auth.Identity{Service: &auth.Principal{}}), codes.PermissionDenied, 403},
		{authenticated, odd, codes.Unauthenticated, 401},
		{authenticated, errors.New("something"), codes.Unauthenticated, 401},
		{standalone, errUnverifiable, codes.Unauthenticated, 401},
		{open, auth.ErrUnauthenticated, codes.Unauthenticated, 401},
	} {
		refusal := (&Server{trust: test.trust, cfg: &config{}}).refusal(test.err)
		wantEqual(t, test.err.Error(), status.Code(refusal), test.code)
		code, text := httpRefusal(refusal)
		wantEqual(t, test.err.Error(), code, test.http)
		if strings.Contains(refusal.Error()+text, test.err.Error()) && len(test.err.Error()) > len("unauthenticated") {
			t.Errorf("%v is told to the caller: %v", test.err, refusal)
		}
	}
}

// The metadata of a call is read where grpc-go keeps it, without copies. With a
// version that keeps it elsewhere calls would cost more, and nothing else.
func TestMetadataIsReadInPlace(t *testing.T) {
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(auth.UserHeader, "Bearer x"))
	if _, ok := ctx.Value(incomingKey).(metadata.MD); !ok {
		t.Error("grpc-go keeps it elsewhere")
	}
	s := &Server{trust: authenticated}
	c := &call{Context: ctx, flight: &flight{}}
	get := func() auth.Presented { return s.presented(c) }
	if p := get(); len(p.User) != 1 || p.User[0] != "Bearer x" || p.Service != nil {
		t.Errorf("presented %+v", p)
	}
	if n := testing.AllocsPerRun(100, func() { get() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	key := incomingKey
	defer func() { incomingKey = key }()
	incomingKey = "elsewhere"
	if p := get(); len(p.User) != 1 || p.User[0] != "Bearer x" || p.Service != nil {
		t.Errorf("without the key: %+v", p)
	}
}

// A certificate that nobody has verified says nothing.
func TestUnverifiedCertificate(t *testing.T) {
	if verified(nil) != nil {
		t.Error("a chain out of nothing")
	}
	chain := []*x509.Certificate{{}}
	if got := verified([][]*x509.Certificate{chain, nil}); len(got) != 1 {
		t.Errorf("got %v", got)
	}
}
