package cluster

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/test/serve"
)

// authority makes certificates and tokens, by the command line.
type authority struct{ dir string }

func newAuthority(t *testing.T) authority {
	t.Helper()
	a := authority{t.TempDir()}
	a.command(t, "ca", "new", a.ca())
	a.command(t, "keys", "new", a.keys())
	return a
}

func (a authority) ca() string   { return filepath.Join(a.dir, "ca") }
func (a authority) keys() string { return filepath.Join(a.dir, "keys") }

func (a authority) command(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), serve.Build(t, serve.Easyops), args...)
	cmd.Env = serve.Environment()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("easyops %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// certificate is that of a program, with what it may serve.
type certificate struct{ cert, key, ca string }

func (a authority) issue(t *testing.T, id string, services ...string) certificate {
	t.Helper()
	args := []string{"ca", "issue", "--id", id, "--dns", "localhost"}
	for _, s := range services {
		args = append(args, "--service", s)
	}
	a.command(t, append(args, a.ca())...)
	dir := filepath.Join(a.ca(), id)
	return certificate{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")}
}

// flags are those of a server with the certificate.
func (a authority) flags(c certificate) []string {
	return []string{
		"-easyops.tls-cert=" + c.cert, "-easyops.tls-key=" + c.key, "-easyops.tls-ca=" + c.ca,
		"-easyops.auth=mtls,jwks:" + filepath.Join(a.keys(), "jwks.json") + "?issuer=easyops-users&audience=example",
	}
}

func (c certificate) option() easyops.Option { return easyops.WithTLSFiles(c.cert, c.key, c.ca) }

func (a authority) token(t *testing.T, user string) string {
	t.Helper()
	return a.command(t, "token", "--keys", a.keys(), "--audience", "example", "--user", user)
}
