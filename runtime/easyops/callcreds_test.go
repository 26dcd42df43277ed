package easyops_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// hearing is an echo that keeps what its calls carry.
type hearing struct {
	echov1.UnimplementedEchoServiceServer
	mu   sync.Mutex
	last metadata.MD
}

func (h *hearing) Echo(ctx context.Context, req *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last, _ = metadata.FromIncomingContext(ctx)
	return &echov1.EchoResponse{Message: req.GetMessage()}, nil
}

func (h *hearing) Chat(stream grpc.BidiStreamingServer[echov1.ChatRequest, echov1.ChatResponse]) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last, _ = metadata.FromIncomingContext(stream.Context())
	return nil
}

// heard returns the user's and the service's header of the last call.
func (h *hearing) heard() (user, service string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.last[auth.UserHeader], "|"), strings.Join(h.last[auth.ServiceHeader], "|")
}

// incoming is the context of a handler that a user's call runs.
func incoming(ctx context.Context, token string) context.Context {
	return context.WithValue(ctx, auth.ContextKey{}, &auth.Caller{Identity: auth.Identity{User: &auth.Principal{ID: "u"}}, UserToken: token})
}

// openly lets everyone in, on loopback, and stops at once.
func openly(more ...easyops.ServerOption) []easyops.ServerOption {
	return append(more, easyops.WithAuth("insecure-none"), easyops.WithAddr("127.0.0.1:0"), easyops.WithDrainDelay(0))
}

// tokenFile holds our own token.
func tokenFile(t *testing.T, token string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// wire is a connection that says that it leads to another machine, and keeps
// what is sent.
type wire struct {
	mu   sync.Mutex
	sent bytes.Buffer
}

type wired struct {
	net.Conn
	wire *wire
	away bool
}

func (c wired) Write(b []byte) (int, error) {
	c.wire.mu.Lock()
	c.wire.sent.Write(b)
	c.wire.mu.Unlock()
	return c.Conn.Write(b)
}

func (c wired) RemoteAddr() net.Addr {
	if c.away {
		return &net.TCPAddr{IP: net.IPv4(203, 0, 113, 7), Port: 443}
	}
	return c.Conn.RemoteAddr()
}

// dialer makes connections go over the wire.
func (w *wire) dialer(away bool) easyops.DialOption {
	return easyops.DialGRPC(grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		return wired{conn, w, away}, err
	}))
}

// carried tells whether a header that begins with the text was sent: as it is,
// or in the code of HPACK (RFC 7541, 5.2), of which the last byte depends on
// what follows.
func (w *wire) carried(text string) bool {
	coded := hpack.AppendHuffmanString(nil, text)
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Contains(w.sent.Bytes(), []byte(text)) || bytes.Contains(w.sent.Bytes(), coded[:len(coded)-1])
}

// fixed is a token that DialUserToken gives.
func fixed(token string, err error) easyops.DialOption {
	return easyops.DialUserToken(func(context.Context) (string, error) { return token, err })
}

// TestTokens: which token goes where. "away" connections are not encrypted and
// lead to another machine.
func TestTokens(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(t, echoName)
	trusting := easyops.WithTLSFiles("", "", ca.file)
	forServers := easyops.WithTLSFiles(cert, key, ca.file)
	cert, key = ca.filesFor(t, dns("caller"))
	named := easyops.WithTLSFiles(cert, key, ca.file)
	own := easyops.WithServiceToken(tokenFile(t, "svc"))
	forward, dialled := easyops.DialForwardUser(), fixed("dialled", nil)
	all := func(opts ...easyops.DialOption) []easyops.DialOption { return opts }
	type row struct {
		name          string
		opts          []easyops.DialOption
		given         string // by WithUserToken
		user, service string // expected
		fault         string
	}
	const leaves = "leaves this machine unencrypted"
	for kind, rows := range map[string][]row{
		"TLS": {
			{name: "incoming", opts: all(trusting), user: "Bearer in"},
			{name: "given comes first", opts: all(trusting, dialled), given: "given", user: "Bearer given"},
			{name: "incoming comes before dialled", opts: all(trusting, dialled), user: "Bearer in"},
			{name: "with our token", opts: all(trusting, own), user: "Bearer in", service: "Bearer svc"},
			{name: "with our certificate", opts: all(named, own), user: "Bearer in"},
			{name: "with one that is not for clients", opts: all(forServers, own), user: "Bearer in", service: "Bearer svc"},
		},
		"TLS target": {
			{name: "incoming", opts: all(trusting)},
			{name: "incoming with our token", opts: all(trusting, own), user: "Bearer svc"},
			{name: "forwarded", opts: all(trusting, forward), user: "Bearer in"},
			{name: "given", opts: all(trusting), given: "given", user: "Bearer given"},
			{name: "dialled", opts: all(trusting, dialled), user: "Bearer dialled"},
			{name: "forwarded comes before dialled", opts: all(trusting, forward, dialled), user: "Bearer in"},
		},
		"loopback": {
			{name: "incoming", user: "Bearer in"},
			{name: "with our token", opts: all(own), user: "Bearer in", service: "Bearer svc"},
			{name: "given", given: "given", user: "Bearer given"},
		},
		"loopback target": {
			{name: "incoming"},
			{name: "incoming with our token", opts: all(own), user: "Bearer svc"},
			{name: "forwarded", opts: all(forward, own), user: "Bearer in", service: "Bearer svc"},
			{name: "dialled", opts: all(dialled), user: "Bearer dialled"},
			{name: "source fails", opts: all(fixed("", errors.New("login again"))), fault: "DialUserToken: login again"},
			{name: "source has none", opts: all(fixed("", nil))},
		},
		"away": {
			{name: "incoming", fault: leaves},
			{name: "given", given: "given", fault: leaves},
			{name: "our token", opts: all(own), fault: leaves},
		},
		"away target": {
			{name: "incoming"},
			{name: "forwarded", opts: all(forward), fault: leaves},
			{name: "given", given: "given", fault: leaves},
			{name: "dialled", opts: all(dialled), fault: leaves},
			{name: "our token", opts: all(own), fault: leaves},
			{name: "insecure-plaintext changes nothing", opts: all(own, easyops.WithInsecurePlaintext()), fault: leaves},
		},
	} {
		t.Run(kind, func(t *testing.T) {
			dir := easyops.WithRegistry("local:" + shortDir(t))
			h := &hearing{}
			server := openly(dir)
			if strings.HasPrefix(kind, "TLS") {
				cert, key := ca.issue(t, echoName, "localhost")
				server = append(server, easyops.WithTLSFiles(cert, key, ca.file))
			}
			s := serveEcho(t, h, server...)
			where := easyops.DialOption(dir)
			if strings.HasSuffix(kind, "target") {
				_, port, _ := net.SplitHostPort(s.Addr().String())
				where = easyops.DialTarget("dns:///localhost:" + port)
			}
			for _, r := range rows {
				t.Run(r.name, func(t *testing.T) {
					w := &wire{}
					client := dialEcho(t, slices.Concat(all(apart(), where, w.dialer(strings.HasPrefix(kind, "away"))), r.opts)...)
					ctx := incoming(t.Context(), "in")
					if r.given != "" {
						ctx = auth.WithUserToken(ctx, r.given)
					}
					_, err := client.Echo(ctx, &echov1.EchoRequest{})
					if r.fault != "" {
						wantRefused(t, err, r.fault)
					} else if err != nil {
						t.Fatal(err)
					}
					if user, service := h.heard(); r.fault == "" && (user != r.user || service != r.service) {
						t.Errorf("heard user %q and service %q, want %q and %q", user, service, r.user, r.service)
					}
					if strings.HasPrefix(kind, "away") && w.carried("Bearer") {
						t.Error("a token was sent")
					}
					if strings.HasPrefix(kind, "loopback") && w.carried("Bearer") != (r.user != "") { // so that one would be seen
						t.Error("the wire did not carry what was heard")
					}
				})
			}
		})
	}
}

// TestTokensByHand: a token that the program puts into the metadata of a call
// itself goes where others may go.
func TestTokensByHand(t *testing.T) {
	h, dir := &hearing{}, easyops.WithRegistry("local:"+shortDir(t))
	serveEcho(t, h, openly(dir)...)
	for _, away := range []bool{false, true} {
		for _, header := range []string{auth.UserHeader, auth.ServiceHeader, "other"} {
			for how, ctx := range map[string]context.Context{
				"appended": metadata.AppendToOutgoingContext(t.Context(), header, "Bearer mine"),
				"new":      metadata.NewOutgoingContext(t.Context(), metadata.MD{header: {"Bearer mine"}}),
			} {
				w := &wire{}
				client := dialEcho(t, apart(dir), w.dialer(away))
				_, err := client.Echo(ctx, &echov1.EchoRequest{})
				refused := away && header != "other"
				if refused {
					wantRefused(t, err, "a token in its metadata", "leaves this machine unencrypted")
				} else if err != nil {
					t.Errorf("%s, away %v, %s: %v", header, away, how, err)
				}
				if w.carried("Bearer mine") == refused {
					t.Errorf("%s, away %v, %s: the token was sent: %v", header, away, how, !refused)
				}
			}
		}
	}
}

// wantRefused wants the error of a call that was not sent, with what to do.
func wantRefused(t *testing.T, err error, texts ...string) {
	t.Helper()
	if status.Code(err) != codes.Unauthenticated {
		t.Fatalf("got %v, want it refused", err)
	}
	mustContain(t, err.Error(), append(texts, echoName, "was not sent")...)
}

// TestWithoutUser: background work carries no user, neither the incoming one nor
// that of the connection, and streams carry what calls do.
func TestWithoutUser(t *testing.T) {
	h := &hearing{}
	dir := easyops.WithRegistry("local:" + shortDir(t))
	serveEcho(t, h, openly(dir)...)
	client := dialEcho(t, apart(dir), fixed("dialled", nil))
	for _, test := range []struct {
		name string
		ctx  context.Context
		want string
	}{
		{"nobody", t.Context(), "Bearer dialled"},
		{"incoming", incoming(t.Context(), "in"), "Bearer in"},
		{"without", auth.WithoutUser(incoming(t.Context(), "in")), ""},
		{"named after", auth.WithUserToken(auth.WithoutUser(t.Context()), "named"), "Bearer named"},
		{"identity of a test", auth.NewContext(t.Context(), auth.Identity{User: &auth.Principal{ID: "u"}}), "Bearer dialled"},
	} {
		if _, err := client.Echo(test.ctx, &echov1.EchoRequest{}); err != nil {
			t.Fatal(err)
		}
		if user, _ := h.heard(); user != test.want {
			t.Errorf("%s: heard %q, want %q", test.name, user, test.want)
		}
		stream, err := client.Chat(test.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err == nil {
			t.Error("the stream goes on")
		}
		if user, _ := h.heard(); user != test.want {
			t.Errorf("%s: the stream carried %q, want %q", test.name, user, test.want)
		}
	}
}

// TestOwnTokenFollowsItsFile: a new token is sent without a restart, an expired
// one too, with a warning.
func TestOwnTokenFollowsItsFile(t *testing.T) {
	const expired = "e30.eyJzdWIiOiJiaWxsaW5nIiwiZXhwIjoxMDAwMDAwMDAwfQ.c2ln" // {"sub":"billing","exp":1000000000}
	file, h, l := tokenFile(t, "first"), &hearing{}, &logs{}
	dir := easyops.WithRegistry("local:" + shortDir(t))
	serveEcho(t, h, openly(dir)...)
	client := dialEcho(t, apart(dir), easyops.WithServiceToken(file), easyops.WithLogger(l.logger()))
	for _, token := range []string{"first", expired} {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		ctx := within(t, 10*time.Second)
		for user := ""; user != "Bearer "+token; user, _ = h.heard() {
			if _, err := client.Echo(ctx, &echov1.EchoRequest{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 3 {
		say(t, client, "on")
	}
	if lines := l.with(t, "the service token has expired, so servers refuse it: put a new one in its file"); len(lines) != 1 || lines[0]["file"] != file {
		t.Errorf("said %v", lines)
	}
	if strings.Contains(l.String(), expired) {
		t.Error("the token is in the log")
	}
}

// TestForeignTransports: transports that DialGRPC brings are judged by what they
// prove.
func TestForeignTransports(t *testing.T) {
	ca, h := newAuthority(t), &hearing{}
	cert, key := ca.issue(t, echoName)
	dir := easyops.WithRegistry("local:" + shortDir(t))
	serveEcho(t, h, openly(dir, easyops.WithTLSFiles(cert, key, ""))...)
	blind := ca.client()
	blind.InsecureSkipVerify = true
	for name, opt := range map[string]easyops.DialOption{
		"TLS": easyops.DialGRPC(grpc.WithTransportCredentials(credentials.NewTLS(ca.client()))),
		"own": easyops.WithTLSConfig(ca.client()),
	} {
		if _, err := dialEcho(t, apart(dir), opt).Echo(incoming(t.Context(), "in"), &echov1.EchoRequest{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if user, _ := h.heard(); user != "Bearer in" {
			t.Errorf("%s: heard %q", name, user)
		}
	}
	for name, opt := range map[string]easyops.DialOption{
		"TLS": easyops.DialGRPC(grpc.WithTransportCredentials(credentials.NewTLS(blind))),
		"own": easyops.WithTLSConfig(blind),
	} {
		_, err := dialEcho(t, apart(dir), opt).Echo(incoming(t.Context(), "in"), &echov1.EchoRequest{})
		wantRefused(t, err, "InsecureSkipVerify")
		if _, err := dialEcho(t, apart(dir), opt).Echo(t.Context(), &echov1.EchoRequest{}); err != nil {
			t.Errorf("%s without a token: %v", name, err)
		}
	}
}

// TestDialIdentityFaults: all that is wrong is said at once.
func TestDialIdentityFaults(t *testing.T) {
	ca := newAuthority(t)
	cert, _ := ca.issue(t, echoName)
	for name, test := range map[string]struct {
		opts []easyops.DialOption
		want []string
	}{
		"server ID without TLS": {[]easyops.DialOption{easyops.DialServerID("echo.example.org")}, []string{"DialServerID", "-easyops.tls-ca"}},
		"bad server ID":         {[]easyops.DialOption{easyops.DialServerID("https://x/y"), easyops.WithTLSFiles("", "", ca.file)}, []string{"https://x/y", "SPIFFE ID"}},
		"empty server ID":       {[]easyops.DialOption{easyops.DialServerID(""), easyops.WithTLSFiles("", "", ca.file)}, []string{"DialServerID"}},
		"SPIFFE ID and config":  {[]easyops.DialOption{easyops.DialServerID("spiffe://x/y"), easyops.WithTLSConfig(ca.client())}, []string{"VerifyConnection", "WithTLSFiles"}},
		"server ID that nothing wants": {
			[]easyops.DialOption{easyops.DialServerID("good.example"), easyops.WithTLSConfig(&tls.Config{
				InsecureSkipVerify: true, VerifyConnection: func(tls.ConnectionState) error { return nil }, //nolint:gosec // nothing connects
			})},
			[]string{"good.example", "InsecureSkipVerify"},
		},
		"two server names": {
			[]easyops.DialOption{easyops.DialServerID("good.example"), easyops.WithTLSConfig(&tls.Config{ServerName: "evil.example"})},
			[]string{"good.example", "evil.example", "leave one of them out"},
		},
		"forwarding everywhere":   {[]easyops.DialOption{easyops.DialForwardUser()}, []string{"DialForwardUser", "DialTarget"}},
		"no source":               {[]easyops.DialOption{easyops.DialUserToken(nil)}, []string{"DialUserToken", "nil"}},
		"no token":                {[]easyops.DialOption{easyops.WithServiceToken("/missing")}, []string{"-easyops.service-token", "EASYOPS_SERVICE_TOKEN", "/missing"}},
		"certificate without key": {[]easyops.DialOption{easyops.WithTLSFiles(cert, "", ca.file)}, []string{"-easyops.tls-key", "EASYOPS_TLS_KEY"}},
		"several": {
			[]easyops.DialOption{easyops.WithTLSFiles(cert, "", ""), easyops.DialForwardUser(), easyops.WithServiceToken("/missing")},
			[]string{"-easyops.tls-key", "DialForwardUser", "/missing"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := easyops.Dial(echoName, append([]easyops.DialOption{apart(easyops.WithRegistry("local:" + shortDir(t)))}, test.opts...)...)
			if err == nil {
				conn.Close()
				t.Fatal("dialled")
			}
			mustContain(t, err.Error(), test.want...)
		})
	}
}
