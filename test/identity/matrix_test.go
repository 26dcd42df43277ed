package identity

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/test/identity/matrix"
)

const service = "easyops.test.matrix.v1.Matrix"

// expected is what a server with authenticators answers, by hand from what the
// rules say: o lets in, u is UNAUTHENTICATED, d is PERMISSION_DENIED.
var expected = map[string]string{
	//                A U G S N E   Authenticated Users Groups Services Named Everyone
	"nobody":        "u u u u u o",
	"user":          "o o d d d o",
	"user in group": "o o o d d o",
	"service":       "o d d o o o",
	"other service": "o d d o d o",
	"both":          "o o o o o o",
	"expired":       "u u u u u o",
	"forged":        "u u u u u o",
}

var (
	rules = []string{"Authenticated", "Users", "Groups", "Services", "Named", "Everyone"}
	kinds = []string{"Unary", "Down", "Up", "Duplex"}
	code  = map[string]codes.Code{"o": codes.OK, "u": codes.Unauthenticated, "d": codes.PermissionDenied}
)

// want is the answer of a server of the mode to a caller.
func want(mode, caller string, rule int) codes.Code {
	if mode == "standalone" { // rules pass, and whoever presents a token is refused
		if caller == "nobody" || rules[rule] == "Everyone" {
			return codes.OK
		}
		return codes.Unauthenticated
	}
	return code[strings.Fields(expected[caller])[rule]]
}

// credential is what a caller presents.
type credential struct {
	user, beside string // tokens, of the one header and of the other
	cert         string // of the service of that name
}

func (c credential) header() http.Header {
	h := http.Header{}
	if c.user != "" {
		h.Set(auth.UserHeader, "Bearer "+c.user)
	}
	if c.beside != "" {
		h.Set(auth.ServiceHeader, "Bearer "+c.beside)
	}
	return h
}

// world is who vouches for whom.
type world struct {
	*authority
	users, services *issuer
}

func newWorld(t testing.TB) *world {
	return &world{newAuthority(t), newIssuer(t, "user"), newIssuer(t, "service")}
}

// credentials are those of every caller, for a server of the mode.
func (w *world) credentials(mode string) map[string]credential {
	alice := w.users.token("alice", time.Hour, "staff")
	billing, shop := w.services.token("billing", time.Hour), w.services.token("shop", time.Hour)
	all := map[string]credential{
		"nobody":        {},
		"user":          {user: w.users.token("bob", time.Hour, "guests")},
		"user in group": {user: alice},
		"service":       {user: billing},
		"other service": {beside: shop},
		"both":          {user: alice, beside: billing},
		"expired":       {user: w.users.token("alice", -2*time.Minute, "staff")},
		"forged":        {user: w.users.forged("alice")},
	}
	if mode == "mTLS" {
		all["service"] = credential{cert: "billing"}
		all["other service"] = credential{cert: "shop"}
		all["both"] = credential{user: alice, cert: "billing"}
	}
	return all
}

// options are those of a server of the mode.
func (w *world) options(mode string, way way) []easyops.ServerOption {
	opts := []easyops.ServerOption{
		easyops.WithFlags(nil), easyops.WithRegistry("none"), easyops.WithAddr("127.0.0.1:0"), easyops.WithDrainDelay(0),
		easyops.WithLogger(slog.New(slog.DiscardHandler)),
	}
	if mode == "standalone" {
		if way.viaH2 {
			opts = append(opts, easyops.WithMixedHTTP2())
		}
		return opts
	}
	cert, key := w.files("server")
	specs := []string{w.users.spec(), w.services.spec()}
	if mode == "mTLS" {
		return append(opts, easyops.WithTLSFiles(cert, key, w.file), easyops.WithAuth(append(specs, "mtls")...))
	}
	return append(opts, easyops.WithTLSFiles(cert, key, ""), easyops.WithAuth(specs...))
}

// start serves the matrix, by generated code or registered by hand.
func start(t testing.TB, how string, opts ...easyops.ServerOption) *easyops.Server {
	t.Helper()
	var s *easyops.Server
	var err error
	if how == "generated" {
		s, err = matrix.StartMatrixServer(impl{}, opts...)
	} else {
		s = easyops.NewServer(opts...)
		matrix.RegisterMatrixServer(s, impl{})
		err = s.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return s
}

// peers are connections to a server, one a certificate.
type peers map[string]*peer

func (w *world) peers(t testing.TB, s *easyops.Server, mode string, way way) peers {
	addr := "localhost" + s.Addr().String()[strings.LastIndex(s.Addr().String(), ":"):]
	if mode == "standalone" {
		return peers{"": newPeer(t, addr, way, nil)}
	}
	config := func(certs ...tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: w.pool(), ServerName: "localhost", MinVersion: tls.VersionTLS12, Certificates: certs}
	}
	return peers{
		"":        newPeer(t, addr, way, config()),
		"billing": newPeer(t, addr, way, config(w.service("billing", time.Time{}))),
		"shop":    newPeer(t, addr, way, config(w.service("shop", time.Time{}))),
	}
}

// each runs a test for each kind of server.
func each(t *testing.T, test func(t *testing.T, w *world, mode, how string, way way)) {
	w := newWorld(t)
	for _, mode := range []string{"standalone", "TLS", "mTLS"} {
		for _, how := range []string{"generated", "by hand"} {
			for _, way := range ways {
				t.Run(strings.Join([]string{mode, how, way.name}, "/"), func(t *testing.T) { test(t, w, mode, how, way) })
			}
		}
	}
}

// TestMatrix: every caller, on every rule and kind of method, of every kind of
// server, by either way. Who is refused is refused by the headers alone: nothing
// of a request is sent to see it.
func TestMatrix(t *testing.T) {
	cells := 0
	each(t, func(t *testing.T, w *world, mode, how string, way way) {
		s := start(t, how, w.options(mode, way)...)
		cells += w.cells(t, mode, w.peers(t, s, mode, way))
	})
	if want := 8 * len(rules) * len(kinds) * 2 * 3 * 2; cells != want && !t.Failed() {
		t.Errorf("%d cells, want %d", cells, want)
	}
}

// cells makes the calls of every caller to one server, and returns how many.
func (w *world) cells(t *testing.T, mode string, peers peers) (n int) {
	t.Helper()
	for caller, c := range w.credentials(mode) {
		for i, rule := range rules {
			for _, kind := range kinds {
				want := want(mode, caller, i)
				got := peers[c.cert].call(t, service+"/"+rule+kind, c.header(), want == codes.OK)
				if got.code != want {
					t.Errorf("%s on %s%s: %v %q, want %v", caller, rule, kind, got.code, got.message, want)
				}
				if sees := seen(mode, caller, rule); want == codes.OK && got.caller != sees {
					t.Errorf("%s on %s%s: the handler sees %q, want %q", caller, rule, kind, got.caller, sees)
				}
				n++
			}
		}
	}
	return n
}

// TestMatrixBeforeInterceptors: the program's own interceptors, which make calls
// take another path, see none of those that are refused.
func TestMatrixBeforeInterceptors(t *testing.T) {
	w := newWorld(t)
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			var anonymous atomic.Int64
			note := func(ctx context.Context, method string) {
				if auth.User(ctx) == nil && auth.Service(ctx) == nil && !strings.Contains(method, "/Everyone") {
					anonymous.Add(1)
				}
			}
			s := start(t, "generated", append(w.options("mTLS", way), easyops.WithGRPC(
				grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, i *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
					note(ctx, i.FullMethod)
					return h(ctx, req)
				}),
				grpc.ChainStreamInterceptor(func(srv any, s grpc.ServerStream, i *grpc.StreamServerInfo, h grpc.StreamHandler) error {
					note(s.Context(), i.FullMethod)
					return h(srv, s)
				})))...)
			w.cells(t, "mTLS", w.peers(t, s, "mTLS", way))
			if n := anonymous.Load(); n > 0 {
				t.Errorf("%d calls of nobody reached an interceptor", n)
			}
		})
	}
}

// seen is who calls, as the handler sees it.
func seen(mode, caller, rule string) string {
	if mode == "standalone" || rule == "Everyone" {
		return "anonymous"
	}
	of := func(name string) string {
		if mode == "mTLS" {
			name = "spiffe://" + trustDomain + "/ns/test/" + name
		}
		return "service " + name
	}
	return map[string]string{
		"user": "user bob", "user in group": "user alice", "service": of("billing"), "other service": of("shop"),
		"both": "user alice by " + of("billing"),
	}[caller]
}

// TestSilentMethods: a method that says nothing is for authenticated callers.
func TestSilentMethods(t *testing.T) {
	each(t, func(t *testing.T, w *world, mode, how string, way way) {
		peers := w.peers(t, start(t, how, w.options(mode, way)...), mode, way)
		for caller, c := range w.credentials(mode) {
			for _, kind := range kinds {
				want := want(mode, caller, 0)
				if got := peers[c.cert].call(t, service+"/Silent"+kind, c.header(), want == codes.OK); got.code != want {
					t.Errorf("%s on Silent%s: %v, want %v", caller, kind, got.code, want)
				}
			}
		}
	})
}

// TestClosedByItself: methods that do not exist, and reflection, are closed to
// who has no identity; health is open.
func TestClosedByItself(t *testing.T) {
	each(t, func(t *testing.T, w *world, mode, how string, way way) {
		peers := w.peers(t, start(t, how, w.options(mode, way)...), mode, way)
		for caller, c := range w.credentials(mode) {
			missing, reflected := want(mode, caller, 0), want(mode, caller, 0)
			if missing == codes.OK {
				missing, reflected = codes.Unimplemented, codes.InvalidArgument // of a request that asks for nothing
			}
			for method, want := range map[string]codes.Code{
				service + "/Missing":                                            missing,
				"a.service.Of/Nobody":                                           missing,
				service + "/usersunary":                                         missing,
				"grpc.health.v1.Health/Check":                                   codes.OK,
				"grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      reflected,
				"grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": reflected,
			} {
				if got := peers[c.cert].call(t, method, c.header(), want != codes.Unauthenticated); got.code != want {
					t.Errorf("%s on %s: %v %q, want %v", caller, method, got.code, got.message, want)
				}
			}
		}
	})
}

// TestTwoTokens: of two tokens in one header nobody could say which one counts.
func TestTwoTokens(t *testing.T) {
	each(t, func(t *testing.T, w *world, mode, how string, way way) {
		p := w.peers(t, start(t, how, w.options(mode, way)...), mode, way)[""]
		alice, billing := "Bearer "+w.users.token("alice", time.Hour), "Bearer "+w.services.token("billing", time.Hour)
		for name, h := range map[string]http.Header{
			"two users":          {"Authorization": {alice, "Bearer " + w.users.token("bob", time.Hour)}},
			"one user twice":     {"Authorization": {alice, alice}},
			"in one value":       {"Authorization": {alice + ", " + alice}},
			"two services":       {"Easyops-Service-Authorization": {billing, billing}},
			"service twice":      {"Authorization": {billing}, "Easyops-Service-Authorization": {billing}},
			"a user as service":  {"Authorization": {alice}, "Easyops-Service-Authorization": {alice}},
			"none":               {"Authorization": {"Bearer "}},
			"another scheme":     {"Authorization": {"Basic YTpi"}},
			"a token by itself":  {"Authorization": {alice[len("Bearer "):]}},
			"good and forged":    {"Authorization": {alice}, "Easyops-Service-Authorization": {"Bearer " + w.services.forged("billing")}},
			"forged and nothing": {"Authorization": {"Bearer " + w.users.forged("alice")}, "Easyops-Service-Authorization": {billing}},
		} {
			if got := p.call(t, service+"/SilentUnary", h, false); got.code != codes.Unauthenticated {
				t.Errorf("%s: %v", name, got)
			}
			if got := p.call(t, service+"/EveryoneUnary", h, true); got.code != codes.OK {
				t.Errorf("%s, where nobody looks: %v", name, got)
			}
		}
	})
}
