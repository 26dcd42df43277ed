package easyops_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// authority signs certificates for tests. No key is ever committed.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.key = newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.file = a.write(t, "ca.pem", "CERTIFICATE", der)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue makes a certificate for names, and returns the files of both parts.
func (a *authority) issue(t *testing.T, names ...string) (cert, key string) {
	t.Helper()
	k := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.cert, &k.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return a.write(t, names[0]+".pem", "CERTIFICATE", der), a.write(t, names[0]+".key", "PRIVATE KEY", keyDER)
}

func (a *authority) write(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	file := filepath.Join(a.dir, name)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// client is the configuration of a client that trusts the authority.
func (a *authority) client() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool, ServerName: echoName, MinVersion: tls.VersionTLS12}
}

// noConnection calls Echo until an instance is found, to which no connection
// can come about, and returns the error.
func noConnection(t *testing.T, client echov1.EchoServiceClient) error {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		err := fails(t, client)
		if strings.Contains(err.Error(), "last error") || time.Now().After(deadline) {
			return err
		}
	}
}

// fails calls Echo without waiting for an instance, and returns the error.
func fails(t *testing.T, client echov1.EchoServiceClient) error {
	t.Helper()
	resp, err := client.Echo(within(t, 10*time.Second), &echov1.EchoRequest{Message: "hi"}, grpc.WaitForReady(false))
	if status.Code(err) != codes.Unavailable {
		t.Fatalf("answered %v, %v", resp, err)
	}
	return err
}

const echoName = "echo.v1.EchoService"

// TestTLSFiles: server and client by files, gRPC and pages.
func TestTLSFiles(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(t, echoName)
	var l logs
	s := startEcho(t, easyops.WithTLSFiles(cert, key, ""), easyops.WithLogger(l.logger()), easyops.WithStatusAddr("127.0.0.1:0"))
	lines := l.with(t, "serving")
	if len(lines) != 1 || lines[0]["mode"] != "standalone, TLS" || !strings.HasPrefix(lines[0]["help"].(string), "https://") {
		t.Fatalf("logged %v", lines)
	}
	say(t, dialEcho(t, s.Client(), easyops.WithTLSFiles("", "", ca.file)), "by files")
	say(t, dialEcho(t, s.Client(), easyops.WithTLSConfig(ca.client())), "by configuration")

	client := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.client()}}
	defer client.CloseIdleConnections()
	for _, url := range []string{lines[0]["help"].(string), "https://" + s.Addr().String() + "/readyz"} {
		resp, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", url, resp.StatusCode, body)
		}
	}
}

// TestTLSConfig: the configuration as a whole wins over files and is not
// changed.
func TestTLSConfig(t *testing.T) {
	ca := newAuthority(t)
	pair, err := tls.LoadX509KeyPair(ca.issue(t, echoName))
	if err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]*tls.Config{
		"Certificates":   {Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS10},
		"GetCertificate": {GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil }, MinVersion: tls.VersionTLS13},
	} {
		t.Run(name, func(t *testing.T) {
			least := config.MinVersion
			s := startEcho(t, easyops.WithTLSFiles("/missing", "/missing", ""), easyops.WithTLSConfig(config))
			say(t, dialEcho(t, s.Client(), easyops.WithTLSFiles("", "", ca.file)), "hi")
			if config.MinVersion != least || config.NextProtos != nil {
				t.Errorf("the caller's configuration was changed: %+v", config)
			}
			old := ca.client()
			old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
			conn, err := tls.Dial("tcp", s.Addr().String(), old)
			if err == nil {
				conn.Close()
				t.Error("TLS 1.1 is accepted")
			}
		})
	}
	mustContain(t, startFault(t, echoService(), easyops.WithTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12})).Error(), "WithTLSConfig", "certificate")
}

// TestTLSFaults: files that cannot be right are found at the start.
func TestTLSFaults(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(t, echoName)
	_, other := ca.issue(t, "other")
	empty := filepath.Join(ca.dir, "empty")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, cert, key string
		want            []string
	}{
		{"of another pair", cert, other, []string{cert, other, "-easyops.tls-key", "does not match"}},
		{"no file", "/missing", key, []string{"-easyops.tls-cert", "/missing", "no such file"}},
		{"no PEM", empty, key, []string{"-easyops.tls-cert", empty}},
		{"certificate alone", cert, "", []string{"-easyops.tls-cert", "-easyops.tls-key", "both"}},
		{"key alone", "", key, []string{"-easyops.tls-cert", "-easyops.tls-key", "both"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			mustContain(t, startFault(t, echoService(), easyops.WithTLSFiles(test.cert, test.key, "")).Error(), test.want...)
		})
	}
	for _, file := range []string{"/missing", empty} {
		conn, err := easyops.Dial(echoName, apart(easyops.WithRegistry("local"), easyops.WithTLSFiles("", "", file)))
		if err == nil {
			conn.Close()
			t.Fatal("dialled")
		}
		mustContain(t, err.Error(), "-easyops.tls-ca", "EASYOPS_TLS_CA", file)
	}
}

// TestWhoIsVerified: a client that found a server in the registry calls it only
// if its certificate is of the right authority and for the service.
func TestWhoIsVerified(t *testing.T) {
	ca, rogue := newAuthority(t), newAuthority(t)
	right := func(a *authority, names ...string) easyops.Option {
		cert, key := a.issue(t, names...)
		return easyops.WithTLSFiles(cert, key, "")
	}
	for _, test := range []struct {
		name   string
		server []easyops.ServerOption
		client easyops.DialOption
		want   []string
	}{
		{"another service's certificate", []easyops.ServerOption{right(ca, "other.v1.Service")}, easyops.WithTLSFiles("", "", ca.file), []string{echoName, "other.v1.Service"}},
		{"another authority", []easyops.ServerOption{right(rogue, echoName)}, easyops.WithTLSFiles("", "", ca.file), []string{"unknown authority"}},
		{"the system's authorities", []easyops.ServerOption{right(ca, echoName)}, easyops.WithTLSFiles("", "", "system"), []string{"unknown authority"}},
		{"a server without TLS", nil, easyops.WithTLSFiles("", "", ca.file), []string{"first record does not look like a TLS handshake"}},
		{"a client without TLS", []easyops.ServerOption{right(ca, echoName)}, easyops.WithLogger(nil), []string{echoName}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := startEcho(t, append(test.server, easyops.WithLogger((&logs{}).logger()))...)
			err := noConnection(t, dialEcho(t, s.Client(), test.client))
			mustContain(t, err.Error(), test.want...)
		})
	}
}
