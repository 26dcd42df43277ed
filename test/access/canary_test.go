package access

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyopstest"
	"github.com/go-easyops/easyops/test/access/routes"
	"github.com/go-easyops/easyops/test/serve"
)

const canaryPackage = "github.com/go-easyops/easyops/test/access/canary"

// secrets are the canaries: what is in a place where secrets are, by that place.
type secrets map[string]string

func (s secrets) make(where string) string {
	s[where] = "canary" + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%s-%d", where, time.Now().UnixNano()))
	return s[where]
}

// leaks wants none of the secrets in a text, in its own form or in those that
// texts are sent in.
func (s secrets) leaks(t *testing.T, where string, text []byte) {
	t.Helper()
	if r, err := gzip.NewReader(bytes.NewReader(text)); err == nil {
		if text, err = io.ReadAll(r); err != nil {
			t.Errorf("%s: %v", where, err)
		}
	}
	for name, secret := range s {
		for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret)), fmt.Sprintf("%x", secret)} {
			if at := bytes.Index(text, []byte(form)); at >= 0 {
				t.Errorf("the %s is in %s: %q", name, where, text[max(0, at-100):min(len(text), at+100)])
			}
		}
	}
}

// TestCanary: what is put in any place where secrets are is seen in no page, log,
// metric, profile and error. What is put in a flag that is no secret is.
func TestCanary(t *testing.T) {
	found, a, dir := secrets{}, newAuthority(t), t.TempDir()
	cert, key := a.files("server")
	found["key of the certificate"] = firstLineOf(t, key)
	keys, tokenOf := keySet(t, dir, found)
	own := tokenOf("self")
	found["service token"] = own[strings.LastIndex(own, ".")+1:]
	password := found.make("password of the registry")
	const plain = "no-canary-of-this-flag"
	args := []string{
		"-easyops.tls-cert=" + cert, "-easyops.tls-key=" + key, "-easyops.tls-ca=" + a.file(),
		"-easyops.auth=mtls,jwks:" + keys + "?issuer=issuer&audience=canary&use=user",
		"-easyops.operators=service:deployer,user:root",
		"-easyops.service-token=" + write(t, dir, "token", own),
		"-easyops.registry=etcd://echo@" + serve.FreeAddr(t) + "?password-file=" + write(t, dir, "password", password),
		"-easyops.log-level=debug",
		"-db-password=" + found.make("password of the database"),
		"-canary.signing-key=" + found.make("signing key"),
		"-canary.pin=" + found.make("pin"),
		"-canary.database=postgres://app:" + found.make("password in a URL") + "@db.test/app?sslpassword=" + found.make("password in a query"),
		"-canary.plain=" + plain,
	}
	s := serve.StartProgram(t, canaryPackage, args...)
	provoke(t, s.Addr, a, found, tokenOf)

	q := &querist{t: t, addr: s.Addr, authority: a, asker: asker{}}
	q.cert, q.key = a.service("deployer")
	defer q.asker.close()
	all, err := routes.Of(func(path, accept string) (int, string, error) {
		got := q.ask("GET", path, accept, "")
		return got.Code, got.Body + got.Err, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	texts, controls := 0, 0
	for _, r := range all {
		for _, accept := range []string{"*/*", "text/html", "application/json"} {
			if accept != "*/*" && slices.Contains(routes.Slow, r.Path) {
				continue // it has one form
			}
			path := withSeconds(r.Concrete("users"))
			for _, got := range []answer{q.ask("GET", path, accept, ""), q.askAsNobody(path, accept)} {
				found.leaks(t, path+" as "+accept, []byte(got.Body))
				texts++
				if strings.Contains(got.Body, plain) {
					controls++
				}
			}
		}
	}
	for _, name := range []string{"goroutine?debug=1", "goroutine?debug=2", "heap?debug=1", "allocs?debug=1", "block?debug=1"} {
		found.leaks(t, name, []byte(q.ask("GET", "/internal/debug/"+name, "*/*", "").Body))
		texts++
	}
	texts += changeSecrets(t, q, found)
	s.Signal(t, syscall.SIGTERM)
	s.Wait(t)
	found.leaks(t, "log", []byte(s.Log()))
	for _, control := range []string{"failed, as asked", "panicked, as asked", "audit"} {
		if !strings.Contains(s.Log(), control) {
			t.Errorf("the log does not have %q: nothing was provoked\n%s", control, s.Log())
		}
	}
	if controls == 0 {
		t.Error("the flag that is no secret is on no page")
	}
	t.Logf("%d secrets looked for in %d answers and %d bytes of log; the flag that is none is in %d answers", len(found), texts, len(s.Log()), controls)
}

// withSeconds makes profiles short.
func withSeconds(path string) string {
	if regexp.MustCompile(`/(cpu|profile|trace)$`).MatchString(path) {
		return path + "?seconds=1"
	}
	return path
}

// querist asks with the certificate of an operator.
type querist struct {
	t         *testing.T
	addr      string
	authority *authority
	asker     asker
	cert, key []byte
}

func (q *querist) ask(method, path, accept, body string) answer {
	return q.asker.ask(question{
		From: "127.0.0.1", Method: method, URL: "https://" + q.addr + path, Header: http.Header{"Accept": {accept}}, Body: body,
		CA: q.authority.ca, Cert: q.cert, Key: q.key,
	})
}

func (q *querist) askAsNobody(path, accept string) answer {
	return q.asker.ask(question{
		From: "127.0.0.1", Method: "POST", URL: "https://" + q.addr + path, Header: http.Header{"Accept": {accept}}, CA: q.authority.ca,
	})
}

// changeSecrets posts secrets, which is refused, and looks at the answers.
func changeSecrets(t *testing.T, q *querist, found secrets) (texts int) {
	t.Helper()
	for _, body := range []string{
		"db-password=" + found.make("new password"),
		"canary.signing-key=" + found.make("new key"),
		"canary.pin=" + found.make("new pin"),
		"canary.pin=x" + found.make("wrong pin"),
		"canary.plain=ok&canary.pin=" + found.make("pin with others"),
		"canary.database=postgres://app:" + found.make("new password in a URL") + "@db.test/app",
	} {
		for _, accept := range []string{"*/*", "text/html", "application/json"} {
			for _, query := range []string{"", "?dry_run"} {
				got := q.ask("POST", "/internal/parameters"+query, accept, body)
				if got.Code < 200 {
					t.Errorf("%v", got)
				}
				found.leaks(t, "what a change answers", []byte(got.Body))
				texts++
			}
			found.leaks(t, "parameters", []byte(q.ask("GET", "/internal/parameters", accept, "").Body))
			found.leaks(t, "overview", []byte(q.ask("GET", "/internal/", accept, "").Body))
			texts += 2
		}
	}
	return texts
}

// provoke makes calls that go wrong in all ways, with secrets in their metadata.
func provoke(t *testing.T, addr string, a *authority, found secrets, tokenOf func(string) string) {
	t.Helper()
	config := &tls.Config{RootCAs: a.pool(), ServerName: "localhost", MinVersion: tls.VersionTLS12}
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	good, foreign := tokenOf("alice"), easyopstest.UserToken("mallory")
	found["token of a user"] = good[strings.LastIndex(good, ".")+1:]
	found["token that is not accepted"] = foreign[strings.LastIndex(foreign, ".")+1:]
	for _, header := range []metadata.MD{
		metadata.Pairs("authorization", "Bearer "+good),
		metadata.Pairs("authorization", "Bearer "+foreign),
		metadata.Pairs("authorization", "Bearer "+found.make("bearer that is no token")),
		metadata.Pairs("authorization", "Basic "+found.make("basic")),
		metadata.Pairs("easyops-service-authorization", "Bearer "+found.make("service header")),
		metadata.Pairs("authorization", "Bearer "+good, "authorization", "Bearer "+foreign),
		metadata.Pairs("authorization", "Bearer "+good, "cookie", found.make("cookie"), "x-api-key", found.make("api key")),
	} {
		for _, message := range []string{"", "fail", "panic"} {
			ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(t.Context(), header), 10*time.Second)
			_, err := echov1.NewEchoServiceClient(conn).Echo(ctx, &echov1.EchoRequest{Message: message})
			cancel()
			found.leaks(t, "an error", []byte(fmt.Sprint(err)))
		}
	}
}

// TestCanaryAtStart: settings that are wrong are named, and secrets in them are
// not.
func TestCanaryAtStart(t *testing.T) {
	found := secrets{}
	for name, args := range map[string][]string{
		"password in the registry's URL": {"-easyops.registry=etcd://echo:" + found.make("a") + "@127.0.0.1:1/x"},
		"registry that cannot be":        {"-easyops.registry=etcd://echo:" + found.make("b") + "@[/%zz"},
		"registry of an unknown kind":    {"-easyops.registry=consul://echo:" + found.make("c") + "@x"},
		"pin that is none":               {"-canary.pin=x" + found.make("d")},
		"issuer with a password":         {"-easyops.auth=oidc:https://app:" + found.make("f") + "@127.0.0.1:1?audience=x"},
		"keys with a password":           {"-easyops.auth=jwks:https://app:" + found.make("g") + "@127.0.0.1:1?issuer=x&audience=x"},
		"key that is none":               {"-easyops.tls-cert=/dev/null", "-easyops.tls-key=" + write(t, t.TempDir(), "key", found.make("h"))},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, serve.Build(t, canaryPackage), append([]string{"-easyops.addr=127.0.0.1:0"}, args...)...)
			cmd.Env = serve.Environment()
			out, err := cmd.CombinedOutput()
			if err == nil || ctx.Err() != nil {
				t.Errorf("it runs: %s", out)
			}
			found.leaks(t, "the output", out)
			t.Logf("%s", out)
		})
	}
}

// keySet writes a set of keys with a private one in it, which does not belong
// there, and returns who signs with that.
func keySet(t *testing.T, dir string, found secrets) (file string, tokenOf func(subject string) string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b64(b)
	}
	set, err := json.Marshal(map[string]any{"keys": []any{map[string]any{
		"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "k1", "x": b64(public),
	}, map[string]any{"kty": "oct", "kid": "k2", "alg": "HS256", "k": found.make("symmetric key in the set")}}})
	if err != nil {
		t.Fatal(err)
	}
	found["private key of tokens"] = b64(private.Seed())
	return write(t, dir, "keys.json", string(set)), func(subject string) string {
		now := time.Now()
		text := part(map[string]string{"alg": "EdDSA", "kid": "k1", "typ": "JWT"}) + "." + part(map[string]any{
			"iss": "issuer", "aud": "canary", "sub": subject, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		})
		return text + "." + b64(ed25519.Sign(private, []byte(text)))
	}
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// firstLineOf is the first line of what a PEM file holds.
func firstLineOf(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(text), "\n")[1]
}
