package easyops

import (
	"context"
	"errors"
	"maps"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/auth"
)

// callsOwn are credentials that the program gives a call.
type callsOwn struct {
	credentials.PerRPCCredentials
	headers map[string]string
	err     error
}

func (g *callsOwn) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return g.headers, g.err
}
func (*callsOwn) RequireTransportSecurity() bool { return true }

// credsIn returns the credentials that gRPC takes of options.
func credsIn(opts []grpc.CallOption) (creds credentials.PerRPCCredentials) {
	for _, o := range opts {
		if o, ok := o.(grpc.PerRPCCredsCallOption); ok {
			creds = o.Creds
		}
	}
	return creds
}

// Only calls that may carry a token have our credentials, and the program's stay.
func TestSparingCreds(t *testing.T) {
	ours, theirs := &callCreds{service: "s"}, &callsOwn{}
	s := newSparingCreds(ours)
	user := context.WithValue(t.Context(), auth.ContextKey{}, &auth.Caller{UserToken: "t"})
	for name, test := range map[string]struct {
		ctx  context.Context
		opts []grpc.CallOption
		want credentials.PerRPCCredentials
	}{
		"plain":            {t.Context(), nil, nil},
		"nobody":           {context.WithValue(t.Context(), auth.ContextKey{}, &auth.Caller{}), nil, nil},
		"without the user": {auth.WithoutUser(user), nil, nil},
		"incoming user":    {user, nil, ours},
		"named user":       {auth.WithUserToken(t.Context(), "t"), nil, ours},
		"metadata":         {metadata.AppendToOutgoingContext(t.Context(), "x", "y"), nil, ours},
		"replaced":         {metadata.NewOutgoingContext(t.Context(), metadata.MD{}), nil, ours},
		"theirs":           {t.Context(), []grpc.CallOption{grpc.PerRPCCredentials(theirs)}, theirs},
		"no credentials":   {user, []grpc.CallOption{grpc.PerRPCCredentials(nil)}, ours},
	} {
		opts := append(make([]grpc.CallOption, 0, 4), grpc.StaticMethod())
		opts = append(opts, test.opts...)
		if got := credsIn(s.of(test.ctx, opts)); got != test.want {
			t.Errorf("%s: %T", name, got)
		}
		if room := opts[:cap(opts)]; room[len(opts)] != nil {
			t.Errorf("%s: the caller's options are written to", name)
		}
	}
	if got, ok := credsIn(s.of(user, []grpc.CallOption{grpc.PerRPCCredentials(theirs)})).(bothCreds); !ok || got.ours != ours || !got.RequireTransportSecurity() {
		t.Errorf("with the program's: %T", got)
	}
	takenBack := []grpc.CallOption{grpc.PerRPCCredentials(theirs), grpc.PerRPCCredentials(nil)}
	if got, ok := credsIn(s.of(user, takenBack)).(*callCreds); !ok || got != ours {
		t.Errorf("with what the program has taken back: %T", got)
	}
	if outgoingKey == nil {
		t.Error("gRPC keeps metadata in another way, and each call is asked for tokens")
	}
	opts := []grpc.CallOption{grpc.StaticMethod()}
	if n := testing.AllocsPerRun(100, func() { s.of(user, opts) }); n > 1 {
		t.Errorf("%v allocations for a token", n)
	}
	if n := testing.AllocsPerRun(100, func() { s.of(t.Context(), opts) }); n > 0 {
		t.Errorf("%v allocations for none", n)
	}
}

func TestBothCreds(t *testing.T) {
	local := credentials.NewContextWithRequestInfo(t.Context(), credentials.RequestInfo{AuthInfo: &plainLink{local: true}})
	away := credentials.NewContextWithRequestInfo(t.Context(), credentials.RequestInfo{AuthInfo: &plainLink{}})
	ours := &callCreds{service: "s"}
	for name, test := range map[string]struct {
		ctx    context.Context
		theirs *callsOwn
		want   map[string]string
		code   codes.Code
	}{
		"both":           {local, &callsOwn{headers: map[string]string{"X-Key": "k"}}, map[string]string{auth.UserHeader: "Bearer t", "x-key": "k"}, codes.OK},
		"the same":       {local, &callsOwn{headers: map[string]string{"Authorization": "k"}}, nil, codes.Unauthenticated},
		"not over this":  {away, &callsOwn{}, nil, codes.Unauthenticated},
		"theirs is none": {local, &callsOwn{err: errors.New("none")}, nil, codes.Unknown},
	} {
		got, err := bothCreds{ours, test.theirs}.GetRequestMetadata(auth.WithUserToken(test.ctx, "t"))
		if !maps.Equal(got, test.want) || status.Code(err) != test.code {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
