package easyops

import (
	"context"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/auth"
)

// callCreds are the tokens of calls: the user's, and our own where no certificate
// says who we are. gRPC asks for them for each attempt of a call, when it is
// known which connection the call goes over and before anything is sent.
//
// Whose token it is decides where it may go:
//
//   - one that the program has named, and our own, over connections whose server
//     is verified, and over those that stay on this machine;
//   - that of an incoming call's user, to services that are found through the
//     registry and verified, or over loopback by the local registry, and to a
//     target where DialForwardUser allows it.
//
// Where a call has a token that must not go over its connection, the call fails.
// Only the user of an incoming call is left out without a word at a target that
// is not allowed to learn of it.
type callCreds struct {
	service    string
	forwards   bool             // the users of incoming calls
	forwardsBy bool             // connections that are not encrypted, but stay on this machine
	users      auth.TokenSource // nil for none
	own        *ownToken        // nil for none
	subjects   subjects
}

func newCallCreds(c *config, service string) (*callCreds, error) {
	own, err := openOwnToken(c)
	return &callCreds{
		service:    service,
		forwards:   c.target == "" || c.forwardUser,
		forwardsBy: c.target != "" || c.registry == "local" || strings.HasPrefix(c.registry, "local:"),
		users:      c.userTokens,
		own:        own,
	}, err
}

// RequireTransportSecurity implements [credentials.PerRPCCredentials]. It would
// forbid loopback too; what may go where is decided for each call.
func (c *callCreds) RequireTransportSecurity() bool { return false }

// GetRequestMetadata implements [credentials.PerRPCCredentials]. Its errors are
// UNAUTHENTICATED, as gRFC A54 leaves FAILED_PRECONDITION to applications.
func (c *callCreds) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	info, _ := credentials.RequestInfoFromContext(ctx)
	l := linkOf(info.AuthInfo)
	if !l.carriesTokens() && tokenByHand(ctx) {
		return nil, c.refuse(ctx, l, "a token in its metadata", "")
	}
	user, err := c.user(ctx, l)
	if err != nil {
		return nil, err
	}
	if c.own == nil || l.named {
		return headers(bearer(user), ""), nil
	}
	if !l.carriesTokens() {
		return nil, c.refuse(ctx, l, "our own service token", "")
	}
	return c.own.headers(user), nil
}

// user returns the token of the user that the call carries, or "".
func (c *callCreds) user(ctx context.Context, l link) (string, error) {
	token, given := auth.UserToken(ctx)
	if token != "" && !given && c.forwards {
		if l.verified || l.local && c.forwardsBy {
			return token, nil
		}
		return "", c.refuse(ctx, l, "the user of the incoming call", orWithout)
	}
	if !given {
		var err error
		if token, err = c.dialled(ctx); err != nil {
			return "", err
		}
	}
	if token != "" && !l.carriesTokens() {
		return "", c.refuse(ctx, l, "a user's token", orWithout)
	}
	return token, nil
}

// tokenByHand tells whether the program has put a token into the metadata of a
// call itself. It costs a copy of all metadata, so it is for connections that
// carry no tokens.
func tokenByHand(ctx context.Context) bool {
	md, _ := metadata.FromOutgoingContext(ctx)
	return len(md[auth.UserHeader])+len(md[auth.ServiceHeader]) > 0
}

// dialled returns the token that DialUserToken gives.
func (c *callCreds) dialled(ctx context.Context) (string, error) {
	if c.users == nil {
		return "", nil
	}
	token, err := c.users(ctx)
	if err == nil {
		return token, nil
	}
	if ctx.Err() != nil {
		return "", status.FromContextError(ctx.Err()).Err()
	}
	return "", status.Errorf(codes.Unauthenticated, "the call to %s was not sent: DialUserToken: %v", c.service, err)
}

// refuse returns the error of a call whose token must not go over its
// connection.
func (c *callCreds) refuse(ctx context.Context, l link, what, or string) error {
	to := "the server"
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		to = p.Addr.String()
	}
	return status.Errorf(codes.Unauthenticated, "the call to %s was not sent: it carries %s, and %s%s", c.service, what, l.fault(to), or)
}

const orWithout = ", or call without the user by auth.WithoutUser"

// link is what decides which tokens may go over a connection.
type link struct {
	verified bool // encrypted, and the server is known to be who it should be
	local    bool // it stays on this machine
	secure   bool // encrypted
	named    bool // our certificate tells the server who we are
}

func (l link) carriesTokens() bool { return l.verified || l.local }

// fault says why a token may not go over a connection, and what to do.
func (l link) fault(to string) string {
	switch {
	case l.secure:
		return "nothing verifies that " + to + " is who it should be: leave InsecureSkipVerify out, or verify in VerifyConnection"
	case l.local:
		return "the connection to " + to + " is not encrypted, which is only good for the local registry: " + cures
	}
	return "the connection to " + to + " leaves this machine unencrypted: " + cures
}

const cures = "give the server a certificate (-easyops.tls-cert, -easyops.tls-key) and its clients the authority (-easyops.tls-ca)"

// linkOf judges connections of our own transports, and of gRPC's TLS where
// DialGRPC has brought it. No token goes over others.
func linkOf(info credentials.AuthInfo) link {
	switch i := info.(type) {
	case *secureLink:
		return link{verified: i.verified, secure: true, named: i.named}
	case *plainLink:
		return link{local: i.local}
	case credentials.TLSInfo:
		return link{verified: len(i.State.VerifiedChains) > 0, secure: true}
	}
	return link{}
}

// headers returns the headers of a call with the values of the user and the
// service: a service without a user stands where the user would.
func headers(user, service string) map[string]string {
	switch {
	case user == "" && service == "":
		return nil
	case user == "":
		return map[string]string{auth.UserHeader: service}
	case service == "":
		return map[string]string{auth.UserHeader: user}
	}
	return map[string]string{auth.UserHeader: user, auth.ServiceHeader: service}
}

// bearer is the value of a header for a token (RFC 6750, 2.1).
func bearer(token string) string {
	if token == "" {
		return ""
	}
	return "Bearer " + token
}
