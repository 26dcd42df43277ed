package easyops

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/auth"
)

// sparingCreds are those of calls that may have a token, and of no others: to ask
// costs gRPC three allocations before it learns that there is none. Options of
// grpc-go may bring interceptors, after which a call is another one, and credentials
// of their own; where there are any, gRPC asks for each call.
type sparingCreds struct {
	creds  *callCreds
	option grpc.CallOption
}

func newSparingCreds(c *callCreds) *sparingCreds {
	return &sparingCreds{c, grpc.PerRPCCredentials(c)}
}

// orAlways returns what makes gRPC ask for each call where there are none of these.
func (s *sparingCreds) orAlways(c *callCreds) []grpc.DialOption {
	if s != nil {
		return nil
	}
	return []grpc.DialOption{grpc.WithPerRPCCredentials(c)}
}

// of returns the options of a call, and the credentials where it may have a token.
func (s *sparingCreds) of(ctx context.Context, opts []grpc.CallOption) []grpc.CallOption {
	if s == nil || !mayHaveToken(ctx) {
		return opts
	}
	if theirs := credsOf(opts); theirs != nil {
		return append(slices.Clip(opts), grpc.PerRPCCredentials(bothCreds{s.creds, theirs}))
	}
	return append(slices.Clip(opts), s.option)
}

// credsOf returns the credentials that options give a call. Of several, gRPC takes the
// last, and that may be none.
func credsOf(opts []grpc.CallOption) credentials.PerRPCCredentials {
	for _, opt := range slices.Backward(opts) {
		if o, ok := opt.(grpc.PerRPCCredsCallOption); ok {
			return o.Creds
		}
	}
	return nil
}

// standing tells whether calls have tokens whatever their context has.
func (c *callCreds) standing() bool { return c.own != nil || c.users != nil }

// mayHaveToken tells whether a call has a token by its context, or any metadata,
// among which there may be one.
func mayHaveToken(ctx context.Context) bool {
	if token, _ := auth.UserToken(ctx); token != "" {
		return true
	}
	return outgoingKey == nil || ctx.Value(outgoingKey) != nil
}

// outgoingKey is the key under which grpc-go keeps the metadata that a call is to
// have. Where a later version keeps it in another way, any call may have some.
var outgoingKey = func() any {
	var s keySpy
	metadata.FromOutgoingContext(&s)
	return s.key
}()

// bothCreds are ours, and those that the program gives a call. gRPC takes one of each
// header from them, so a call that both give the same is not sent. Where gRPC asks for
// ours for each call, with DialGRPC, DialUserToken or a token of our own, it sends both,
// which servers of this package refuse with the same code.
type bothCreds struct {
	ours   *callCreds
	theirs credentials.PerRPCCredentials
}

// RequireTransportSecurity implements [credentials.PerRPCCredentials].
func (b bothCreds) RequireTransportSecurity() bool { return b.theirs.RequireTransportSecurity() }

// GetRequestMetadata implements [credentials.PerRPCCredentials]. A header that both
// have is an error: servers take no two tokens where one should be.
func (b bothCreds) GetRequestMetadata(ctx context.Context, uri ...string) (map[string]string, error) {
	ours, err := b.ours.GetRequestMetadata(ctx, uri...)
	if err != nil {
		return nil, err
	}
	theirs, err := b.theirs.GetRequestMetadata(ctx, uri...)
	if err != nil {
		return nil, err
	}
	all := make(map[string]string, len(ours)+len(theirs))
	for name, value := range theirs {
		all[strings.ToLower(name)] = value
	}
	for name, value := range ours {
		if _, twice := all[name]; twice {
			return nil, status.Errorf(codes.Unauthenticated, "the call to %s was not sent: %s is set by its credentials and for its user: leave one out, the user by auth.WithoutUser", b.ours.service, name)
		}
		all[name] = value
	}
	return all, nil
}
