package easyops

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
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
	rotation   *rotation        // nil where nothing of TLS can change
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
	if c.rotation != nil {
		c.rotation.look()
	}
	info, _ := credentials.RequestInfoFromContext(ctx)
	l := linkOf(info.AuthInfo)
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
	return c.own.headers(ctx, user)
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

// ownToken is the token that says which service we are.
type ownToken struct {
	file   *auth.FileToken
	where  string
	log    *slog.Logger
	now    atomic.Pointer[ownHeaders]
	warned atomic.Int64 // when that it has expired was last said, in Unix seconds
}

// ownHeaders are made once for each token.
type ownHeaders struct {
	token   string
	value   string            // of its header
	alone   map[string]string // of calls without a user
	expires time.Time
}

func openOwnToken(c *config) (*ownToken, error) {
	if c.serviceToken == "" {
		return nil, nil
	}
	file, err := auth.TokenFile(c.serviceToken, c.log())
	if err != nil {
		return nil, errors.New("-easyops.service-token or EASYOPS_SERVICE_TOKEN: " + err.Error())
	}
	return &ownToken{file: file, where: c.serviceToken, log: c.log()}, nil
}

// headers returns the headers of a call, which must not be changed.
func (o *ownToken) headers(ctx context.Context, user string) (map[string]string, error) {
	token, err := o.file.Token(ctx)
	if err != nil {
		return nil, status.Errorf(codes.Unauthenticated, "the call was not sent: -easyops.service-token: %v", err)
	}
	h := o.now.Load()
	if h == nil || h.token != token {
		h = &ownHeaders{token: token, value: bearer(token), alone: headers("", bearer(token)), expires: o.file.State().Expires}
		o.now.Store(h)
	}
	o.warnExpired(h.expires)
	if user == "" {
		return h.alone, nil
	}
	return headers(bearer(user), h.value), nil
}

// warnExpired says at most once a minute that the token has expired. The call
// goes all the same: whether it is let in is for the server to say.
func (o *ownToken) warnExpired(expires time.Time) {
	if expires.IsZero() {
		return
	}
	now := time.Now()
	last := o.warned.Load()
	if now.Before(expires) || now.Unix() < last+60 || !o.warned.CompareAndSwap(last, now.Unix()) {
		return
	}
	o.log.Warn("the service token has expired, so servers refuse it: put a new one in its file", "file", o.where, "expired", expires)
}

// rotation notices that the files of certificates have changed, and has the
// connections made anew: those that are open show the certificate that was in
// force when they began, and servers refuse it once it has expired.
type rotation struct {
	certs *auth.Certificates
	renew func()

	looked atomic.Int64 // when, in Unix seconds
	since  atomic.Int64 // when what the connections show came into force, in Unix nanoseconds
}

// follow is called before the first call.
func (c *callCreds) follow(certs *auth.Certificates, renew func()) {
	if certs == nil {
		return
	}
	c.rotation = &rotation{certs: certs, renew: renew}
	c.rotation.since.Store(certs.State().Since.UnixNano())
}

// look costs no more than a look at the clock, but for one call a second.
func (r *rotation) look() {
	now := time.Now()
	last := r.looked.Load()
	if now.Unix() == last || !r.looked.CompareAndSwap(last, now.Unix()) {
		return
	}
	r.certs.Refresh(now)
	if since := r.certs.State().Since.UnixNano(); r.since.Swap(since) != since {
		r.renew()
	}
}
