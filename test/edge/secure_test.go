package edge

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/test/edge/run"
	"github.com/go-easyops/easyops/test/issue"
	"github.com/go-easyops/easyops/test/serve"
)

// secured is an edge over TLS that takes tokens, in front of backends that do
// both as well. Certificates are of one authority.
type secured struct {
	addr, ca string // host:port, and the file of the authority
	alice    string // a token of a user's
	billing  string // a token of a service's
	bad      string // alice's, tampered with
	cert     string // the file of the edge's certificate
}

func startSecured(t *testing.T) *secured {
	t.Helper()
	dir := t.TempDir()
	keys := filepath.Join(dir, "keys")
	issue.Easyops(t, "ca", "new", "--trust-domain=edge.test", dir)
	issue.Easyops(t, "ca", "issue", "--id=backend", "--service=echo.v1.EchoService", "--service=page", "--dns=localhost", "--ip=127.0.0.1", dir)
	issue.Easyops(t, "keys", "new", keys)
	token := func(args ...string) string {
		return issue.Easyops(t, append([]string{"token", "--keys=" + keys, "--audience=edge.test"}, args...)...)
	}
	spec := "jwks:" + filepath.Join(keys, "jwks.json") + "?audience=edge.test"
	common := []string{
		"-easyops.auth=" + spec + "&issuer=easyops-users&use=user," + spec + "&issuer=easyops-services&use=service",
		"-easyops.tls-ca=" + filepath.Join(dir, "ca.pem"),
	}
	f := newFleet(t, 1, append(common, "-easyops.tls-cert="+filepath.Join(dir, "backend", "cert.pem"), "-easyops.tls-key="+filepath.Join(dir, "backend", "key.pem"))...)
	issue.Easyops(t, "ca", "issue", "--id=edge", "--dns=localhost", "--ip=127.0.0.1", dir)
	cert, key := filepath.Join(dir, "edge", "cert.pem"), filepath.Join(dir, "edge", "key.pem")
	e := run.Start(t, routesTo(serve.FreeAddr(t))+"tls: [{cert: \""+cert+"\", key: \""+key+"\"}]\n", append(common, "-easyops.registry="+f.url)...)
	s := &secured{addr: strings.Replace(e.Addr, "127.0.0.1", "localhost", 1), ca: filepath.Join(dir, "ca.pem"), cert: cert, alice: token("--user=alice"), billing: token("--service=billing")}
	s.bad = s.alice[:len(s.alice)-8] + "AAAAAAAA"
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the edge: %s", tail(e.Log()))
		}
	})
	return s
}

// tls is for clients of the edge.
func (s *secured) tls(t *testing.T) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(s.ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// callers are who calls, what they present, and whom the backend takes them for: ""
// where they are refused. What the edge passes on is authorization; a service that
// presents itself beside a user, or in the header for that, is known to the edge
// alone.
func (s *secured) callers() []caller {
	return []caller{
		{"nobody", "", "", ""},
		{"user", s.alice, "", "user alice"},
		{"service", s.billing, "", "service billing"},
		{"user by a service", s.alice, s.billing, "user alice"},
		{"service in the other header", "", s.billing, ""},
		{"tampered", s.bad, "", ""},
		{"user as a service", "", s.alice, ""},
	}
}

type caller struct{ name, token, service, who string }

// headers are the tokens as names and values.
func (c caller) headers() (kv []string) {
	if c.token != "" {
		kv = append(kv, "authorization", "Bearer "+c.token)
	}
	if c.service != "" {
		kv = append(kv, "easyops-service-authorization", "Bearer "+c.service)
	}
	return kv
}

// TestGrpcGo calls all kinds of methods through the edge.
func TestGrpcGo(t *testing.T) {
	s := startSecured(t)
	conn, err := grpc.NewClient(s.addr, grpc.WithTransportCredentials(credentials.NewTLS(s.tls(t))))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := echov1.NewEchoServiceClient(conn)
	large := strings.Repeat("0123456789abcdef", 3<<20/16)
	for _, c := range s.callers() {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), c.headers()...), patience)
			defer cancel()
			who, err := client.Echo(ctx, &echov1.EchoRequest{Message: "who"})
			if who.GetMessage() != c.who || (err == nil) != (c.who != "") {
				t.Fatalf("the backend took it for %q, %v, want %q", who.GetMessage(), err, c.who)
			}
			if c.who == "" {
				return
			}
			if resp, err := client.Echo(ctx, &echov1.EchoRequest{Message: large}); err != nil || resp.GetMessage() != large {
				t.Errorf("a large message: %d bytes, %v", len(resp.GetMessage()), err)
			}
			if err := collect(ctx, client); err != nil {
				t.Error(err)
			}
			repeat, err := client.Repeat(ctx, &echov1.RepeatRequest{Message: "hi", Count: 3})
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for ; err == nil; n++ {
				_, err = repeat.Recv()
			}
			if n != 4 || err != io.EOF { //nolint:errorlint // Recv returns it as it is
				t.Errorf("%d answers, %v", n-1, err)
			}
		})
	}
}

// TestNetHTTP asks for the page through the edge, over HTTP/1.1 and HTTP/2.
func TestNetHTTP(t *testing.T) {
	s := startSecured(t)
	for _, h2 := range []bool{false, true} {
		tr := transport(t)
		tr.TLSClientConfig = s.tls(t)
		tr.Protocols.SetHTTP1(!h2)
		tr.Protocols.SetHTTP2(h2)
		for _, c := range s.callers() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.addr+"/a?b=c", nil)
			if err != nil {
				t.Fatal(err)
			}
			kv := c.headers()
			for i := 0; i < len(kv); i += 2 {
				req.Header.Set(kv[i], kv[i+1])
			}
			resp, err := (&http.Client{Transport: tr}).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			checkPage(t, c, s.addr, resp.StatusCode, text)
		}
	}
}

// checkPage wants the page to have heard who asks, or the caller to be refused.
func checkPage(t *testing.T, c caller, addr string, code int, text []byte) {
	t.Helper()
	if c.who == "" {
		if code != http.StatusUnauthorized || bytes.Contains(text, []byte(`"who"`)) {
			t.Errorf("%s: %d %s", c.name, code, text)
		}
		return
	}
	var h heard
	if err := json.Unmarshal(text, &h); err != nil {
		t.Errorf("%s: %d %s: %v", c.name, code, text, err)
		return
	}
	if h.Who != c.who || h.Host != addr || h.URI != "/a?b=c" || h.Header.Get("X-Forwarded-Proto") != "https" ||
		h.Header.Get("X-Forwarded-For") != "127.0.0.1" || h.Header.Get("X-Forwarded-Host") != addr {
		t.Errorf("%s: the page heard %+v", c.name, h)
	}
}

// TestGrpcurl calls through the edge with grpcurl.
func TestGrpcurl(t *testing.T) {
	s := startSecured(t)
	set := filepath.Join(t.TempDir(), "echo.protoset")
	encoded, err := proto.Marshal(&descriptorpb.FileDescriptorSet{
		File: []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(echov1.File_echo_v1_echo_proto)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(set, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range s.callers() {
		args := []string{"-cacert", s.ca, "-protoset", set, "-d", `{"message":"who"}`}
		kv := c.headers()
		for i := 0; i < len(kv); i += 2 {
			args = append(args, "-H", kv[i]+": "+kv[i+1])
		}
		cmd := exec.CommandContext(t.Context(), serve.Build(t, serve.Grpcurl), append(args, s.addr, "echo.v1.EchoService/Echo")...)
		cmd.Env = serve.Environment()
		out, err := cmd.CombinedOutput()
		var answer struct{ Message string }
		_ = json.Unmarshal(out, &answer) // a refusal is text
		if answer.Message != c.who || (c.who == "") != strings.Contains(string(out), "Unauthenticated") {
			t.Errorf("%s: %v %s", c.name, err, out)
		}
	}
}
