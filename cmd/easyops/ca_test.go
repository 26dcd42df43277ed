package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/go-easyops/easyops/runtime/auth"
)

func certificate(t testing.TB, path string) *x509.Certificate {
	t.Helper()
	cert, err := readCertificate(path)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// pool holds the authority of a directory alone.
func pool(t testing.TB, dir string) *x509.CertPool {
	t.Helper()
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(read(t, filepath.Join(dir, caFile))) {
		t.Fatal("ca.pem holds no certificate")
	}
	return p
}

func TestCANew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	mustCall(t, "ca", "new", "--trust-domain", "example.org", "--ttl", "30d", dir)
	if diff := cmp.Diff(map[string]fs.FileMode{".": 0o700, "ca-key.pem": 0o600, "ca.pem": 0o644}, modes(t, dir)); diff != "" {
		t.Error(diff)
	}
	ca := certificate(t, filepath.Join(dir, caFile))
	if !ca.IsCA || !ca.MaxPathLenZero || ca.MaxPathLen != 0 || ca.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign {
		t.Errorf("it is no authority for leaves alone: %+v", ca)
	}
	if len(ca.URIs) != 1 || ca.URIs[0].String() != "spiffe://example.org" {
		t.Errorf("its trust domain is %v", ca.URIs)
	}
	if life := time.Until(ca.NotAfter).Round(time.Hour); life != 30*day {
		t.Errorf("it lives %v", life)
	}
	before := read(t, filepath.Join(dir, caFile))
	if code, _, stderr := call("ca", "new", dir); code != 1 || !strings.Contains(stderr, "--force") {
		t.Errorf("code %d, %q", code, stderr)
	}
	if string(read(t, filepath.Join(dir, caFile))) != string(before) {
		t.Error("it was replaced unasked")
	}
	mustCall(t, "ca", "new", "--force", dir)
	if name := certificate(t, filepath.Join(dir, caFile)).Subject.CommonName; name == ca.Subject.CommonName {
		t.Errorf("two authorities are called %q", name)
	}
}

func TestCAIssue(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	mustCall(t, "ca", "new", "--trust-domain", "example.org", dir)
	mustCall(t, "ca", "issue", "--service", "echo.v1.EchoService", "--service", "ping.v1.PingService", "--service", "guestbook-page", "--id", "team/echo",
		"--dns", "localhost,*.example.org", "--ip", "127.0.0.1, ::1", dir)
	want := map[string]fs.FileMode{".": 0o700, "ca.pem": 0o644, "cert.pem": 0o644, "key.pem": 0o600}
	if diff := cmp.Diff(want, modes(t, filepath.Join(dir, "team", "echo"))); diff != "" {
		t.Error(diff)
	}
	leaf := certificate(t, filepath.Join(dir, "team", "echo", certFile))
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != "spiffe://example.org/team/echo" {
		t.Errorf("its SPIFFE ID is %v", leaf.URIs)
	}
	if diff := cmp.Diff([]string{"echo.v1.EchoService", "ping.v1.PingService", "guestbook-page", "localhost", "*.example.org"}, leaf.DNSNames); diff != "" {
		t.Error(diff)
	}
	if len(leaf.IPAddresses) != 2 || !leaf.IPAddresses[0].Equal(net.IPv4(127, 0, 0, 1)) || !leaf.IPAddresses[1].Equal(net.IPv6loopback) {
		t.Errorf("its addresses are %v", leaf.IPAddresses)
	}
	if key, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() || leaf.IsCA || leaf.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("it is %+v", leaf)
	}
	if life := time.Until(leaf.NotAfter).Round(time.Hour); life != 90*day {
		t.Errorf("it lives %v", life)
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool(t, dir), KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
			t.Error(err)
		}
	}
	other := t.TempDir()
	mustCall(t, "ca", "new", other)
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool(t, other)}); err == nil {
		t.Error("another authority vouches for it")
	}
	if auth.ServesAs("echo.v1.EchoService", "")(leaf) != nil || auth.ServesAs("ping.v1.PingService", "")(leaf) != nil || auth.ServesAs("guestbook-page", "")(leaf) != nil {
		t.Error("clients do not take it for its services")
	}
	if auth.ServesAs("billing.v1.BillingService", "")(leaf) == nil {
		t.Error("clients take it for a service that it is not")
	}
}

// TestCAInUse connects two programs, each with what was issued to it.
func TestCAInUse(t *testing.T) {
	dir := t.TempDir()
	mustCall(t, "ca", "new", "--trust-domain", "example.org", dir)
	mustCall(t, "ca", "issue", "--id", "echo", "--service", "echo.v1.EchoService", "--dns", "localhost", dir)
	mustCall(t, "ca", "issue", "--id", "frontend", dir)
	pair := func(id string) tls.Certificate {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, id, certFile), filepath.Join(dir, id, certKey))
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	mtls, err := auth.Open("mtls", auth.Config{TrustDomain: func() string { return "example.org" }})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := auth.Identify(r.Context(), auth.Presented{Certs: r.TLS.VerifiedChains[0]}, []auth.Authenticator{mtls})
		if err == nil {
			err = (auth.Access{Allow: auth.Services, Services: []string{"frontend"}}).Check(caller.Identity)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
		}
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair("echo")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool(t, dir)}
	server.StartTLS()
	defer server.Close()
	for id, want := range map[string]int{"frontend": http.StatusOK, "echo": http.StatusForbidden} {
		client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
			RootCAs: pool(t, dir), Certificates: []tls.Certificate{pair(id)}, ServerName: "localhost",
		}}}
		response, err := client.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		client.CloseIdleConnections()
		if response.StatusCode != want {
			t.Errorf("%s: status %d, want %d", id, response.StatusCode, want)
		}
	}
}

func TestCAIssueAgain(t *testing.T) {
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
	mustCall(t, "ca", "new", dir)
	args := []string{"ca", "issue", "--id", "echo", "--out", out, dir}
	mustCall(t, args...)
	first := certificate(t, filepath.Join(out, certFile))
	if code, _, stderr := call(args...); code != 1 || !strings.Contains(stderr, "--force") {
		t.Errorf("code %d, %q", code, stderr)
	}
	mustCall(t, append(args, "--force", "--ttl", "1h")...)
	second := certificate(t, filepath.Join(out, certFile))
	if first.SerialNumber.Cmp(second.SerialNumber) == 0 || !second.NotAfter.Before(first.NotAfter) {
		t.Error("it was not issued anew")
	}
	if _, err := tls.LoadX509KeyPair(filepath.Join(out, certFile), filepath.Join(out, certKey)); err != nil {
		t.Error(err)
	}
}

func TestCAThatRefuses(t *testing.T) {
	dir := t.TempDir()
	mustCall(t, "ca", "new", "--ttl", "60d", dir)
	authority := string(read(t, filepath.Join(dir, caFile)))
	write(t, filepath.Join(dir, "b", caFile), authority) // as beside a certificate
	other := t.TempDir()
	write(t, filepath.Join(other, caFile), authority)
	for _, test := range []struct {
		args string
		code int
		says string
	}{
		{"issue", 2, "name one directory"},
		{"issue DIR", 2, "--id is missing"},
		{"issue --id echo DIR DIR", 2, "name one directory"},
		{"issue --id spiffe://example.org/echo DIR", 2, "such as echo"},
		{"issue --id ../echo DIR", 2, "with / between parts"},
		{"issue --id /echo DIR", 2, "with / between parts"},
		{"issue --id echo/ DIR", 2, "with / between parts"},
		{"issue --id é DIR", 2, "letters"},
		{"issue --id " + strings.Repeat("a", 1025) + " DIR", 2, "1024"},
		{"issue --id a --service echo.v1. DIR", 2, "echo.v1.EchoService"},
		{"issue --id a --service echo/v1 DIR", 2, "echo.v1.EchoService"},
		{"issue --id a --dns localhost:443 DIR", 2, "without a port"},
		{"issue --id a --dns -x DIR", 2, "without a port"},
		{"issue --id a --dns 127.0.0.1 DIR", 2, "write --ip 127.0.0.1"},
		{"issue --id a --dns localhost,::1 DIR", 2, "write --ip ::1"},
		{"issue --id a --ip localhost DIR", 2, `--ip "localhost": write an IP address without a port, such as 127.0.0.1, and DNS names with --dns`},
		{"issue --id a --ip 127.0.0.1:443 DIR", 2, "without a port"},
		{"issue --id a --ip 127.0.0.1, DIR", 2, "--ip"},
		{"issue --id --dns localhost DIR", 2, "--id has no value"},
		{"issue --id a --ip --dns localhost DIR", 2, "ca issue: --ip has no value"},
		{"issue --id a DIR/ca.pem", 2, "DIR names the directory of the authority, such as " + dir},
		{"issue --id a DIR/b", 1, "DIR is the directory of the authority: " + dir + "\n"},
		{"issue --id a OTHER", 1, "DIR is the directory of the authority, which easyops ca new makes"},
		{"issue --id a --ttl soon DIR", 2, "90d"},
		{"issue --id a DIR", 1, "shorten --ttl"}, // 90 days, and the authority has 60
		{"issue --id a nowhere", 1, "ca new nowhere"},
		{"new", 2, "name one directory, as in: easyops ca new ca"},
		{"new --trust-domain Example.org x", 2, "lower-case"},
		{"new --trust-domain spiffe://x x", 2, "such as example.org"},
	} {
		args := strings.Fields("ca " + strings.NewReplacer("DIR", dir, "OTHER", other).Replace(test.args))
		if code, stdout, stderr := call(args...); code != test.code || stdout != "" || !strings.Contains(stderr, test.says) {
			t.Errorf("%.80q: code %d, %q, %.300q", test.args, code, stdout, stderr)
		}
	}
	if files := modes(t, dir); len(files) != 5 {
		t.Errorf("something was written: %v", files)
	}
}

// What an authority reads must be what it has written.
func TestCAThatIsNone(t *testing.T) {
	other := t.TempDir()
	mustCall(t, "ca", "new", other)
	mustCall(t, "ca", "issue", "--id", "a", other)
	for name, test := range map[string]struct{ file, from, says string }{
		"no PEM":          {caFile, "", "no certificate"},
		"leaf":            {caFile, filepath.Join(other, "a", certFile), "not an authority"},
		"key as cert":     {caFile, filepath.Join(other, caKeyFile), "no certificate"},
		"cert as key":     {caKeyFile, filepath.Join(other, caFile), "no private key"},
		"another key":     {caKeyFile, filepath.Join(other, caKeyFile), "PublicKey"},
		"another CA cert": {caFile, filepath.Join(other, caFile), "PublicKey"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			mustCall(t, "ca", "new", dir)
			text := ""
			if test.from != "" {
				text = string(read(t, test.from))
			}
			write(t, filepath.Join(dir, test.file), text)
			code, _, stderr := call("ca", "issue", "--id", "b", dir)
			if code != 1 || !strings.Contains(stderr, test.says) {
				t.Errorf("code %d, %q", code, stderr)
			}
			if _, err := os.Stat(filepath.Join(dir, "b")); err == nil {
				t.Error("something was written")
			}
		})
	}
}

// TestOpenSSL asks a stack that is not Go's.
func TestOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl")
	}
	dir := t.TempDir()
	mustCall(t, "ca", "new", dir)
	mustCall(t, "ca", "issue", "--id", "echo", "--service", "echo.v1.EchoService", "--dns", "localhost", "--ip", "127.0.0.1", dir)
	mustCall(t, "keys", "new", dir+"/keys")
	other := t.TempDir()
	mustCall(t, "ca", "new", other)
	cert := filepath.Join(dir, "echo", certFile)
	for _, test := range []struct {
		args []string
		good bool
	}{
		{[]string{"verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "localhost", "-CAfile", filepath.Join(dir, caFile), cert}, true},
		{[]string{"verify", "-x509_strict", "-purpose", "sslclient", "-verify_ip", "127.0.0.1", "-CAfile", filepath.Join(dir, "echo", caFile), cert}, true},
		{[]string{"verify", "-verify_hostname", "example.org", "-CAfile", filepath.Join(dir, caFile), cert}, false},
		{[]string{"verify", "-CAfile", filepath.Join(other, caFile), cert}, false},
		{[]string{"pkey", "-noout", "-in", filepath.Join(dir, "echo", certKey)}, true},
		{[]string{"pkey", "-noout", "-in", filepath.Join(dir, "keys", signingKeyFile)}, true},
	} {
		out, err := exec.Command(openssl, test.args...).CombinedOutput()
		if (err == nil) != test.good {
			t.Errorf("openssl %v: %v: %s", test.args, err, out)
		}
	}
}
