package easyops

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/auth"
)

// admit decides whether a call may go on, before a byte of its request is
// decoded. It is the one place where identity meets the access rule: gRPC's
// calls of every kind pass it, and requests to HTTP handlers. An error says what
// is wrong, for the log alone; refusal is what the caller learns of it.
func (s *Server) admit(c *call) (err error) {
	if c.method.access.Allow == auth.Everyone || s.trust == insecure {
		return nil // nobody looks at what is presented
	}
	switch c.caller, err = s.identify(c.Context, s.presented(c)); {
	case err != nil:
		return err
	case s.trust == standalone:
		return notForwarded(c)
	}
	return c.method.access.Check(c.caller.Identity)
}

// identify says who presents what a call or a request presents. Where nothing
// can verify a token it is refused, so that nobody believes it was looked at.
func (s *Server) identify(ctx context.Context, p auth.Presented) (auth.Caller, error) {
	switch {
	case s.trust == authenticated:
		return auth.Identify(ctx, p, s.authenticators)
	case s.trust != insecure && len(p.User)+len(p.Service) > 0:
		return auth.Caller{}, errUnverifiable
	}
	return auth.Caller{}, nil
}

var errUnverifiable = errors.New("a token was presented, and without -easyops.auth nothing can verify it")

// What a caller learns of a refusal: never which check failed.
var (
	refusedNobody  = unauthenticated("this needs an identity that the server accepts: send a token of a user or a service, or a client certificate")
	refusedNoToken = unauthenticated("this needs an identity that the server accepts: send a token of a user or a service")
	refusedNoCert  = unauthenticated("this needs an identity that the server accepts: send a client certificate")
	refusedByNoOne = unauthenticated("this server cannot verify an identity: send no token")
	refusedWrong   = status.New(codes.PermissionDenied, "permission denied: this is not for the identity of its caller")
)

func unauthenticated(text string) *status.Status {
	return status.New(codes.Unauthenticated, "unauthenticated: "+text)
}

// refusal is what a caller learns of an error of admit or identify, and the
// error itself, for the log.
type refusal struct {
	public *status.Status
	cause  error
}

func (r *refusal) Error() string              { return r.public.Err().Error() }
func (r *refusal) GRPCStatus() *status.Status { return r.public }

// refusal tells what a caller learns of an error of admit or identify.
func (s *Server) refusal(cause error) error {
	switch {
	case errors.Is(cause, errForwarded):
		return &refusal{refusedForwarded, cause}
	case s.trust != authenticated:
		return &refusal{refusedByNoOne, cause}
	case errors.Is(cause, auth.ErrDenied) && !errors.Is(cause, auth.ErrUnauthenticated):
		return &refusal{refusedWrong, cause}
	}
	return &refusal{s.refusedNobody(), cause}
}

// refused is what a caller learns of an error of admit. A call that has ended while
// somebody was asked who calls says so, and not that its caller is nobody: that token
// may be as good as any.
func (c *call) refused(cause error) error {
	if ended := c.Context.Err(); ended != nil && errors.Is(cause, ended) {
		return &refusal{status.FromContextError(ended), cause}
	}
	return c.method.server.refusal(cause)
}

// refusedNobody names what the server takes, whatever was wrong with what the
// caller presented.
func (s *Server) refusedNobody() *status.Status {
	switch {
	case !s.takesCertificates():
		return refusedNoToken
	case !s.takesTokens():
		return refusedNoCert
	}
	return refusedNobody
}

// httpRefusal is a refusal as HTTP has it (RFC 9110, 15.5.2 and 15.5.4).
func httpRefusal(refusal error) (code int, text string) {
	st := status.Convert(refusal)
	if st.Code() == codes.PermissionDenied {
		return http.StatusForbidden, st.Message()
	}
	return http.StatusUnauthorized, st.Message()
}

// refuseHTTP answers a request that is not admitted.
func refuseHTTP(w http.ResponseWriter, refusal error) {
	code, text := httpRefusal(refusal)
	if code == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer") // RFC 6750, 3
	}
	http.Error(w, text, code)
}

// presented is what a call presents: in the metadata of gRPC, or in the headers
// of a request.
func (s *Server) presented(c *call) auth.Presented {
	if c.extra != nil && c.request != nil {
		return s.presentedBy(c.request)
	}
	p := auth.Presented{At: s.clock.at(c.begun), Last: recallOf(c.use)}
	if md, ok := c.Context.Value(incomingKey).(metadata.MD); ok {
		p.User, p.Service = md[auth.UserHeader], md[auth.ServiceHeader]
	} else {
		p.User = metadata.ValueFromIncomingContext(c.Context, auth.UserHeader)
		p.Service = metadata.ValueFromIncomingContext(c.Context, auth.ServiceHeader)
	}
	if s.tls != nil {
		if from, ok := peer.FromContext(c.Context); ok {
			if info, ok := from.AuthInfo.(credentials.TLSInfo); ok {
				p.Certs = verified(info.State.VerifiedChains)
			}
		}
	}
	return p
}

// presentedBy is what a request presents.
func (s *Server) presentedBy(r *http.Request) auth.Presented {
	p := auth.Presented{User: r.Header[userHeader], Service: r.Header[serviceHeader]}
	if r.TLS != nil {
		p.Certs = verified(r.TLS.VerifiedChains)
	}
	return p
}

// verified returns the chain of the client's certificate. A certificate that
// came and was not verified, as a configuration of the user's may have it, has
// none and says nothing.
func verified(chains [][]*x509.Certificate) []*x509.Certificate {
	if len(chains) == 0 {
		return nil
	}
	return chains[0]
}

// The headers that carry tokens, as net/http spells them.
var (
	userHeader    = http.CanonicalHeaderKey(auth.UserHeader)
	serviceHeader = http.CanonicalHeaderKey(auth.ServiceHeader)
)

// incomingKey is the key under which grpc-go keeps the metadata of a call, which
// its functions copy: for a header that is not there they look at every other.
// Each call looks for two. Where a later version keeps it in another way, the
// functions are asked.
var incomingKey = func() any {
	var s keySpy
	metadata.ValueFromIncomingContext(&s, auth.UserHeader)
	return s.key
}()

// keySpy is a context that notes which value it is asked for.
type keySpy struct{ key any }

func (*keySpy) Deadline() (time.Time, bool) { return time.Time{}, false }
func (*keySpy) Done() <-chan struct{}       { return nil }
func (*keySpy) Err() error                  { return nil }
func (s *keySpy) Value(key any) any         { s.key = key; return nil }

// endAt ends a stream, or a request to an HTTP handler, when the identity that it
// was begun with expires.
func (c *call) endAt(expires time.Time) {
	if !expires.IsZero() {
		c.more().expiry = time.AfterFunc(time.Until(expires), func() { c.abort(statusExpired) })
	}
}

// stopExpiry takes endAt back: the call is over.
func (c *call) stopExpiry() {
	if c.extra != nil && c.expiry != nil {
		c.expiry.Stop()
	}
}

var statusExpired = status.New(codes.Unauthenticated, "the identity that the call was made with has expired")
