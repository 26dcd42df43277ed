package monitoring

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-easyops/easyops/test/serve"
)

// exit ends the tests, after what they have built is removed.
func exit(code int) { os.Exit(code) }

// authority makes certificates and keys for tokens, by the command line.
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

// certificate are the files of a program's own.
type certificate struct{ cert, key, ca string }

// issue makes the certificate of a program, for the services that it may serve.
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

// spec makes a server take the tokens of an issuer, for the use that it says.
func (a authority) spec(issuer, use string) string {
	return "jwks:" + filepath.Join(a.keys(), "jwks.json") + "?issuer=" + issuer + "&audience=" + audience + "&use=" + use
}

// audience is the server's name in tokens.
const audience = "example"

// token makes the token of a service, and returns the file it is in.
func (a authority) token(t *testing.T, service string) string {
	t.Helper()
	path := filepath.Join(a.dir, service+".token")
	a.command(t, "token", "--service", service, "--audience", audience, "--keys", a.keys(), "--out", path)
	return path
}

// client speaks HTTPS with the certificate.
func (c certificate) client(t *testing.T) *http.Client {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(c.ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}
