//go:build real

package clients

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// inLines writes what callers present for a foreign program.
func inLines(t *testing.T, callers []caller) io.Reader {
	t.Helper()
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	for _, c := range callers {
		if err := encoder.Encode(c.presents); err != nil {
			t.Fatal(err)
		}
	}
	return &b
}

// checkLines compares what a foreign program has heard.
func checkLines(t *testing.T, callers []caller, out string) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(out))
	for _, c := range callers {
		var got answers
		if err := decoder.Decode(&got); err != nil {
			t.Fatalf("%v in %q", err, out)
		}
		t.Run(c.name, func(t *testing.T) { c.check(t, got) })
	}
	if err := decoder.Decode(new(answers)); !errors.Is(err, io.EOF) {
		t.Errorf("there is more in %q", out)
	}
}

func TestGrpcJSWithIdentity(t *testing.T) {
	g, dir := startGuarded(t), installGrpcJS(t)
	callers := g.callers(t)
	out := runWith(t, inLines(t, callers), dir, need(t, "node", "nodejs"), "identity.js", g.addr, absolute(t, "../../example/proto"), g.ca)
	checkLines(t, callers, out)
}

func TestPythonWithIdentity(t *testing.T) {
	g, python := startGuarded(t), needPython(t)
	callers := g.callers(t)
	checkLines(t, callers, runWith(t, inLines(t, callers), "", python, "-B", "python/identity.py", g.addr, descriptorFile(t), g.ca))
}

// TestCurlWithIdentity asks for handlers and pages as curl's users do. What a
// handler says is who has called.
func TestCurlWithIdentity(t *testing.T) {
	const help, metrics, health = "/internal/help", "/metrics", "/internal/health"
	curl, g := need(t, "curl", "curl"), startGuarded(t)
	cert := func(id string) presents {
		return presents{Cert: filepath.Join(g.dir, id, "cert.pem"), Key: filepath.Join(g.dir, id, "key.pem")}
	}
	alice, olga := g.token(t, "--user=alice", "--groups=staff"), g.token(t, "--user=olga")
	through := cert("deployer")
	through.User = alice
	const deployer = "service spiffe://clients.test/deployer"
	for _, c := range []struct {
		name string
		presents
		whoami, staff, help string
		who                 string
	}{
		{"nothing", presents{}, "401", "401", "401", ""},
		{"certificate", cert("frontend"), "200", "403", "403", "service spiffe://clients.test/frontend"},
		{"operator's certificate", cert("deployer"), "200", "403", "200", deployer},
		{"user by an operator's certificate", through, "200", "200", "403", "user alice by " + deployer},
		{"user's token", presents{User: alice}, "200", "200", "403", "user alice"},
		{"operator's token", presents{User: olga}, "200", "403", "200", "user olga"},
		{"operator's expired token", presents{User: g.expired(t)}, "401", "401", "401", ""},
		{"no token", presents{User: "x"}, "401", "401", "401", ""},
	} {
		for _, version := range []string{"--http1.1", "--http2"} {
			t.Run(c.name+" "+version, func(t *testing.T) {
				get := func(path string) (body, code string) {
					args := []string{version, "--silent", "--show-error", "--max-time", "10", "--cacert", g.ca, "--write-out", "\n%{http_code}"}
					if c.Cert != "" {
						args = append(args, "--cert", c.Cert, "--key", c.Key)
					}
					out := run(t, "", curl, slices.Concat(args, c.headers("--header"), []string{"https://" + g.addr + path})...)
					i := strings.LastIndex(out, "\n")
					return out[:i], out[i+1:]
				}
				for path, want := range map[string]string{
					"/whoami": c.whoami, "/staff": c.staff, help: c.help, metrics: c.help,
					"/open": "200", health: "200", "/readyz": "200",
				} {
					body, code := get(path)
					if code != want {
						t.Errorf("%s: %s, want %s: %.200s", path, code, want, body)
					}
					if code == "200" && (path == "/whoami" || path == "/staff") && body != c.who {
						t.Errorf("%s: it was %q, want %q", path, body, c.who)
					}
				}
			})
		}
	}
}
