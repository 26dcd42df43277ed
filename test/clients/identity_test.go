package clients

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/test/issue"
	"github.com/go-easyops/easyops/test/serve"
)

// answers are what a caller hears of each method, and of whom the server takes
// it for where Echo answers. The rules are those of guarded.
type answers struct {
	Who     string // in the answer of Echo
	Echo    string // code of the method for everyone with an identity
	Repeat  string // for users of the group staff
	Collect string // for the service frontend
	Chat    string // for users
}

const (
	ok        = "OK"
	nobody    = "Unauthenticated"
	forbidden = "PermissionDenied"
)

// presents is what a caller presents: files of a certificate and tokens.
type presents struct {
	Cert    string `json:"cert"` // "" for none, like the others
	Key     string `json:"key"`
	User    string `json:"user"`    // a token in authorization
	Service string `json:"service"` // a token in easyops-service-authorization
}

// guarded is a server with rules, and a certificate for each kind of caller.
type guarded struct {
	addr, ca, keys, dir string
}

// caller is one who calls, and what must come of that.
type caller struct {
	name string
	presents
	answers
}

func (g guarded) callers(t *testing.T) []caller {
	t.Helper()
	cert := func(id string) presents {
		return presents{Cert: filepath.Join(g.dir, id, "cert.pem"), Key: filepath.Join(g.dir, id, "key.pem")}
	}
	const frontend = "service spiffe://clients.test/frontend"
	alice, bob := g.token(t, "--user=alice", "--groups=staff"), g.token(t, "--user=bob", "--groups=guests")
	service := g.token(t, "--service=frontend")
	both := cert("frontend")
	both.User = alice
	stale := cert("frontend")
	stale.User = g.expired(t)
	all := answers{Echo: nobody, Repeat: nobody, Collect: nobody, Chat: nobody}
	return []caller{
		{"nothing", presents{}, all},
		{"certificate", cert("frontend"), answers{frontend, ok, forbidden, ok, forbidden}},
		{"certificate of another service", cert("other"), answers{"service spiffe://clients.test/other", ok, forbidden, forbidden, forbidden}},
		{"user's token", presents{User: alice}, answers{"user alice", ok, ok, forbidden, ok}},
		{"token of a user in another group", presents{User: bob}, answers{"user bob", ok, forbidden, forbidden, ok}},
		{"service's token", presents{User: service}, answers{"service frontend", ok, forbidden, ok, forbidden}},
		{"certificate and user's token", both, answers{"user alice by " + frontend, ok, ok, ok, ok}},
		{"both tokens", presents{User: alice, Service: service}, answers{"user alice by service frontend", ok, ok, ok, ok}},
		{"expired token", presents{User: stale.User}, all},
		{"expired token with a certificate", stale, all},
		{"token for others", presents{User: g.token(t, "--user=alice", "--groups=staff", "--audience=others")}, all},
		{"user's token as that of a service", presents{Service: alice}, all},
	}
}

// startGuarded starts a server in this process, as rules are options of its.
func startGuarded(t *testing.T) guarded {
	t.Helper()
	dir := t.TempDir()
	g := guarded{dir: dir, ca: filepath.Join(dir, "ca.pem"), keys: filepath.Join(dir, "keys")}
	issue.Easyops(t, "ca", "new", "--trust-domain=clients.test", dir)
	issue.Easyops(t, "ca", "issue", "--id=echo", "--service="+service, "--dns=localhost", "--ip=127.0.0.1", dir)
	for _, id := range []string{"frontend", "other", "deployer"} {
		issue.Easyops(t, "ca", "issue", "--id="+id, dir)
	}
	issue.Easyops(t, "keys", "new", g.keys)
	whoami := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, auth.CallerFrom(r.Context())) })
	spec := "jwks:" + filepath.Join(g.keys, "jwks.json") + "?audience=clients.test"
	s, err := echov1.StartEchoServiceServer(who{},
		easyops.WithFlags(nil), easyops.WithRegistry("none"), easyops.WithAddr("127.0.0.1:0"),
		easyops.WithLogger(slog.New(slog.NewTextHandler(t.Output(), nil))),
		easyops.WithTLSFiles(filepath.Join(dir, "echo", "cert.pem"), filepath.Join(dir, "echo", "key.pem"), g.ca),
		easyops.WithAuth("mtls", spec+"&issuer=easyops-users&use=user", spec+"&issuer=easyops-services&use=service"),
		easyops.WithAccess(service+"/Repeat", auth.Access{Allow: auth.Users, Groups: []string{"staff"}}),
		easyops.WithAccess(service+"/Collect", auth.Access{Allow: auth.Services, Services: []string{"frontend"}}),
		easyops.WithAccess(service+"/Chat", auth.Access{Allow: auth.Users}),
		easyops.WithHTTP("/whoami", whoami),
		easyops.WithHTTP("/staff", whoami, auth.Access{Allow: auth.Users, Groups: []string{"staff"}}),
		easyops.WithHTTP("/open", whoami, auth.Access{Allow: auth.Everyone}),
		easyops.WithOperators("user:olga", "service:deployer"), easyops.WithDrainDelay(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	g.addr = s.Addr().String()
	return g
}

// token makes a token, for the server unless the arguments name another audience.
func (g guarded) token(t *testing.T, args ...string) string {
	t.Helper()
	if !slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "--audience=") }) {
		args = append(args, "--audience=clients.test")
	}
	return issue.Easyops(t, append([]string{"token", "--keys=" + g.keys}, args...)...)
}

// expired makes a token that would be good, had it not expired two minutes ago.
func (g guarded) expired(t *testing.T) string {
	t.Helper()
	good := g.token(t, "--user=alice", "--groups=staff")
	header, rest, _ := strings.Cut(good, ".")
	payload, _, _ := strings.Cut(rest, ".")
	var claims map[string]any
	text, err := base64.RawURLEncoding.DecodeString(payload)
	if err == nil {
		err = json.Unmarshal(text, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	claims["exp"], claims["iat"], claims["nbf"] = now.Add(-2*time.Minute).Unix(), now.Add(-time.Hour).Unix(), now.Add(-time.Hour).Unix()
	if text, err = json.Marshal(claims); err != nil {
		t.Fatal(err)
	}
	signed := header + "." + base64.RawURLEncoding.EncodeToString(text)
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(g.privateKey(t), []byte(signed)))
}

func (g guarded) privateKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(g.keys, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(ed25519.PrivateKey)
}

// who answers with who has called.
type who struct {
	echov1.UnimplementedEchoServiceServer
}

func (who) Echo(ctx context.Context, _ *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	return &echov1.EchoResponse{Message: auth.CallerFrom(ctx).String()}, nil
}

func (who) Repeat(_ *echov1.RepeatRequest, s grpc.ServerStreamingServer[echov1.RepeatResponse]) error {
	return s.Send(&echov1.RepeatResponse{Message: auth.CallerFrom(s.Context()).String()})
}

func (who) Collect(s grpc.ClientStreamingServer[echov1.CollectRequest, echov1.CollectResponse]) error {
	return s.SendAndClose(&echov1.CollectResponse{Message: auth.CallerFrom(s.Context()).String()})
}

func (who) Chat(s grpc.BidiStreamingServer[echov1.ChatRequest, echov1.ChatResponse]) error {
	return s.Send(&echov1.ChatResponse{Message: auth.CallerFrom(s.Context()).String()})
}

func (a answers) check(t *testing.T, got answers) {
	t.Helper()
	if got != a {
		t.Errorf("got  %+v\nwant %+v", got, a)
	}
}

func TestGrpcurlWithIdentity(t *testing.T) {
	g := startGuarded(t)
	set := filepath.Join(t.TempDir(), "echo.protoset") // reflection is not for everyone
	encoded, err := proto.Marshal(&descriptorpb.FileDescriptorSet{
		File: []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(echov1.File_echo_v1_echo_proto)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(set, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	callers := g.callers(t)
	for _, c := range callers {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			call := func(method string) (who, code string) {
				return grpcurl(t, slices.Concat(c.grpcurl(g), []string{"-protoset", set, "-d", "{}", g.addr, service + "/" + method})...)
			}
			var got answers
			got.Who, got.Echo = call("Echo")
			_, got.Repeat = call("Repeat")
			_, got.Collect = call("Collect")
			_, got.Chat = call("Chat")
			c.check(t, got)
		})
	}
	t.Run("reflection", func(t *testing.T) {
		for name, want := range map[string]string{"nothing": nobody, "certificate": ok, "user's token": ok, "expired token": nobody} {
			c := callers[slices.IndexFunc(callers, func(c caller) bool { return c.name == name })]
			listed, code := grpcurl(t, append(c.grpcurl(g), g.addr, "list")...)
			if code != want || (code == ok) != strings.Contains(listed, service) {
				t.Errorf("%s: %s %q, want %s", name, code, listed, want)
			}
		}
	})
}

// grpcurl are the flags for what the caller presents.
func (p presents) grpcurl(g guarded) []string {
	flags := []string{"-cacert", g.ca}
	if p.Cert != "" {
		flags = append(flags, "-cert", p.Cert, "-key", p.Key)
	}
	return append(flags, p.headers("-H")...)
}

// headers are the tokens as arguments of a program.
func (p presents) headers(flag string) (args []string) {
	if p.User != "" {
		args = append(args, flag, "authorization: Bearer "+p.User)
	}
	if p.Service != "" {
		args = append(args, flag, "easyops-service-authorization: Bearer "+p.Service)
	}
	return args
}

// grpcurl runs grpcurl, and returns the message that it printed, or all of it
// where that is none, and the code.
func grpcurl(t *testing.T, args ...string) (message, code string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, serve.Build(t, serve.Grpcurl), args...)
	cmd.Env = serve.Environment()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		for _, code := range []string{nobody, forbidden} {
			if strings.Contains(stderr.String(), "Code: "+code) || strings.Contains(stderr.String(), "code = "+code) {
				return "", code
			}
		}
		return "", fmt.Sprintf("%v: %s", err, &stderr)
	}
	var answer struct{ Message string }
	if json.Unmarshal(stdout.Bytes(), &answer) != nil {
		return stdout.String(), ok
	}
	return answer.Message, ok
}
