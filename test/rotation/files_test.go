package rotation

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/test/issue"
)

// authority issues certificates.
type authority struct{ dir string }

func newAuthority(t *testing.T) authority {
	t.Helper()
	a := authority{filepath.Join(t.TempDir(), "ca")}
	issue.Easyops(t, "ca", "new", "--trust-domain=rotation.test", a.dir)
	return a
}

func (a authority) file() string { return filepath.Join(a.dir, "ca.pem") }

// issued are the three files of a service, which it reads again.
type issued struct {
	dir  string
	args []string // of easyops ca issue
}

// newIssued makes the files of a service that may serve, or only calls.
func newIssued(t *testing.T, a authority, id string, more ...string) issued {
	t.Helper()
	f := issued{filepath.Join(t.TempDir(), id), append([]string{"ca", "issue", "--id=" + id, "--force"}, more...)}
	a.issue(t, f)
	f.trust(t, a)
	return f
}

// pairs is held while a certificate and its key do not fit each other. Who knows a
// former pair stays with it in that moment, and who only begins cannot.
var pairs sync.RWMutex

// issue makes a new certificate. The authorities stay as they are.
func (a authority) issue(t *testing.T, f issued) {
	t.Helper()
	fresh := filepath.Join(t.TempDir(), "fresh")
	issue.Easyops(t, append(f.args, "--out="+fresh, a.dir)...)
	pairs.Lock()
	defer pairs.Unlock()
	for _, name := range []string{"key.pem", "cert.pem"} {
		replace(t, filepath.Join(f.dir, name), read(t, filepath.Join(fresh, name)))
	}
}

// trust has the files hold these authorities.
func (f issued) trust(t *testing.T, authorities ...authority) {
	t.Helper()
	var all []byte
	for _, a := range authorities {
		all = append(all, read(t, a.file())...)
	}
	replace(t, f.ca(), all)
}

func (f issued) cert() string { return filepath.Join(f.dir, "cert.pem") }
func (f issued) key() string  { return filepath.Join(f.dir, "key.pem") }
func (f issued) ca() string   { return filepath.Join(f.dir, "ca.pem") }

// option has a server or a client follow the files.
func (f issued) option() easyops.Option { return easyops.WithTLSFiles(f.cert(), f.key(), f.ca()) }

// pool is of authorities, as of now.
func pool(t *testing.T, authorities ...authority) *x509.CertPool {
	t.Helper()
	p := x509.NewCertPool()
	for _, a := range authorities {
		if !p.AppendCertsFromPEM(read(t, a.file())) {
			t.Fatalf("%s holds no certificate", a.file())
		}
	}
	return p
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// replace changes a file as a whole, so that readers find the old one or the new
// one.
func replace(t *testing.T, path string, data []byte) {
	t.Helper()
	temp := path + ".new"
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(temp, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temp, path); err != nil {
		t.Fatal(err)
	}
}

// inPlace overwrites a file, as editors and careless scripts do.
func inPlace(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
