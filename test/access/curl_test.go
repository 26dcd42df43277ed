//go:build real

package access

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-easyops/easyops/runtime/easyopstest"
	"github.com/go-easyops/easyops/test/access/routes"
)

// curl is how an operator of a server of a mode calls it.
type curl struct {
	*testing.T
	path, base string
	args       []string
}

func newCurl(t *testing.T, r *running, who string) *curl {
	t.Helper()
	path, err := exec.LookPath("curl")
	if err != nil {
		t.Fatal("curl is missing: install Debian's package curl, or run .ci/parts as root")
	}
	c := &curl{T: t, path: path, base: r.scheme() + "://localhost:" + r.port("pages"), args: []string{"-sS", "--max-time", "20"}}
	if r.tls {
		c.args = append(c.args, "--cacert", r.authority.file())
	}
	switch {
	case who == "nobody" || r.operators == "local":
	case r.mtls:
		cert, key := r.authority.files("deployer")
		c.args = append(c.args, "--cert", cert, "--key", key)
	default:
		c.args = append(c.args, "-H", "authorization: Bearer "+easyopstest.UserToken("root"))
	}
	return c
}

// reply is what curl prints.
type reply struct {
	code, kind, body string
}

func (c *curl) run(path string, more ...string) reply {
	c.Helper()
	out := filepath.Join(c.TempDir(), "out")
	args := append(append(append([]string{}, c.args...), more...), "-o", out, "-w", "%{http_code} %{content_type}", c.base+path)
	printed, err := exec.CommandContext(c.Context(), c.path, args...).CombinedOutput()
	if err != nil {
		c.Fatalf("curl %v: %v: %s", args, err, printed)
	}
	body, err := os.ReadFile(out)
	if err != nil && !os.IsNotExist(err) { // curl writes no empty file
		c.Fatal(err)
	}
	code, kind, _ := strings.Cut(string(printed), " ")
	return reply{code, kind, string(body)}
}

const wantsJSON = "Accept: application/json"

// TestCurl asks for every page by curl, as it is and for JSON, of servers in
// plaintext, with tokens and with certificates.
func TestCurl(t *testing.T) {
	n := 0
	for _, m := range modes {
		if m.operators == "nobody" || m.apart {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			r := m.start(t)
			c := newCurl(t, r, "operator")
			for _, route := range m.routes(t) {
				c.page(route)
				n += 2
			}
			n += c.errors(r)
			n += newCurl(t, r, "nobody").refused(r)
		})
	}
	t.Logf("%d commands", n)
}

// page wants text and JSON of a page, or what it is for where it is a file.
func (c *curl) page(r routes.Route) {
	c.Helper()
	path := withSeconds(r.Concrete(cacheName))
	plain, asJSON := c.run(path), c.run(path, "-H", wantsJSON)
	want := "200"
	switch {
	case !r.Answers("GET"):
		want = "405"
	case strings.HasSuffix(path, "/heapdump"):
		want = "403"
	}
	if plain.code != want || asJSON.code != want {
		c.Errorf("%s: %s and %s, want %s: %s", path, plain.code, asJSON.code, want, plain.body)
	}
	if strings.Contains(plain.body, "<html") || plain.body == "" {
		c.Errorf("%s: curl gets %s: %.200s", path, plain.kind, plain.body)
	}
	if rest, ok := strings.CutPrefix(r.Path, "/internal/debug/"); want == "200" && (!r.Shown || ok && rest != "" && rest != "info") {
		return // files, which are what they are
	}
	if !strings.HasPrefix(plain.kind, "text/plain") {
		c.Errorf("%s: curl gets %s", path, plain.kind)
	}
	c.wantJSON(path, asJSON, want != "200")
}

// wantJSON wants an object with a version, and an error that says what to do if
// it is one.
func (c *curl) wantJSON(what string, r reply, isError bool) {
	c.Helper()
	var d struct {
		Version int
		Error   string
	}
	if err := json.Unmarshal([]byte(r.body), &d); err != nil || d.Version != 1 || !strings.HasPrefix(r.kind, "application/json") {
		c.Errorf("%s: %s %s: %v: %.200s", what, r.code, r.kind, err, r.body)
	}
	if isError != (d.Error != "") || isError && !advises.MatchString(d.Error) {
		c.Errorf("%s: %s: the error %q does not say what to do", what, r.code, d.Error)
	}
}

// mistakes are commands that cannot succeed, and the code that they get.
var mistakes = []struct {
	path, code string
	args       []string
}{
	{"/internal/nothing", "404", nil},
	{"/nothing", "404", nil},
	{"/internal/help", "405", []string{"-X", "POST"}},
	{"/internal/help?format=xml", "400", nil},
	{"/internal/help", "405", []string{"-X", "DELETE"}},
	{"/internal/pleaseshutdown", "405", nil},
	{"/internal/pleaseshutdown", "403", []string{"-X", "POST", "-H", "Origin: https://evil.example"}},
	{"/internal/pleaseshutdown", "403", []string{"-X", "POST", "-H", "Host: evil.example"}},
	{"/internal/pleaseshutdown", "403", []string{"-X", "POST", "-H", "Via: 1.1 proxy"}},
	{"/internal/pleaseshutdown", "415", []string{"-d", "x", "-H", "Content-Type: text/plain"}},
	{"/internal/parameters", "400", []string{"-X", "POST"}},
	{"/internal/parameters", "400", []string{"-d", "no.such.flag=1"}},
	{"/internal/parameters", "400", []string{"-d", "access.limit=many"}},
	{"/internal/parameters", "400", []string{"-d", "easyops.addr=:1"}},
	{"/internal/parameters", "400", []string{"-d", "access.limit=3&easyops.log-level=loud"}},
	{"/internal/parameters?ttl=never", "400", []string{"-d", "access.limit=3"}},
	{"/internal/parameters", "400", []string{"-d", "{", "-H", "Content-Type: application/json"}},
	{"/internal/parameters?name=no.such.flag", "404", nil},
	{"/internal/parameters?sort=nothing", "400", nil},
	{"/internal/parameters?limit=-1", "400", nil},
	{"/internal/service-info/grpc-callers?sort=nothing", "400", nil},
	{"/internal/service-info/grpc-callers?offset=x", "400", nil},
	{"/internal/service-info/grpc-connections?limit=1000000", "400", nil},
	{"/internal/clearcache/no-such-cache", "404", []string{"-X", "POST"}},
	{"/internal/clearcache/..%2f..%2fetc", "404", []string{"-X", "POST"}},
	{"/internal/debug/cpu?seconds=x", "400", nil},
	{"/internal/debug/trace?seconds=9999", "400", nil},
	{"/internal/debug/goroutine?debug=7", "400", nil},
	{"/internal/debug/heapdump", "403", nil},
}

// errors makes mistakes. Each answer says what to do, as text and as JSON, and
// changes nothing.
func (c *curl) errors(r *running) (n int) {
	c.Helper()
	before := r.state(c.T)
	for _, m := range mistakes {
		plain := c.run(m.path, m.args...)
		what := strings.Join(append(m.args, m.path), " ")
		if plain.code != m.code || !advises.MatchString(plain.body) {
			c.Errorf("curl %s: %s, want %s and what to do: %s", what, plain.code, m.code, plain.body)
		}
		if strings.Contains(m.path, "format=") {
			n++
			continue // which outranks the header
		}
		c.wantJSON(what, c.run(m.path, append([]string{"-H", wantsJSON}, m.args...)...), true)
		n += 2
	}
	if now := r.state(c.T); now != before {
		c.Errorf("it was %s and is %s", before, now)
	}
	return n
}

// refused asks as nobody, which only whoever runs a standalone server may.
func (c *curl) refused(r *running) (n int) {
	c.Helper()
	if r.operators == "local" {
		return 0
	}
	for _, path := range []string{"/internal/help", "/internal/", "/metrics", "/internal/parameters"} {
		plain := c.run(path)
		if strings.HasSuffix(path, "metrics") && r.metrics == "everyone" {
			continue
		}
		if plain.code != "401" || !advises.MatchString(plain.body) {
			c.Errorf("nobody on %s: %s %s", path, plain.code, plain.body)
		}
		c.wantJSON(path, c.run(path, "-H", wantsJSON), true)
		n += 2
	}
	return n
}
