package identity

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/go-easyops/easyops/runtime/easyops"
)

// soon waits for what happens within a few looks at the files, once a second.
func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 15 s", what)
		}
	}
}

// TestServerFollowsItsFiles: new keys and certificates are in force within
// seconds, and a broken file changes nothing but what the pages and the metrics
// say.
func TestServerFollowsItsFiles(t *testing.T) {
	w := newWorld(t)
	opts := append(w.options("mTLS", ways[0]), easyops.WithOperators("service:deployer"))
	s := start(t, "generated", opts...)
	peers := w.peers(t, s, "mTLS", ways[0])
	addr := peers[""].addr
	is := func(token string, want codes.Code) bool {
		return peers[""].call(t, service+"/UsersUnary", credential{user: token}.header(), true).code == want
	}

	before := w.users.token("alice", time.Hour)
	if !is(before, codes.OK) {
		t.Fatal("refused")
	}
	next := newIssuer(t, "user")
	copyFile(t, w.users.file, next.file)
	soon(t, "the new key", func() bool { return is(next.token("alice", time.Hour), codes.OK) })
	if !is(before, codes.Unauthenticated) {
		t.Error("a token of a key that is gone is taken")
	}

	if page := identityOf(t, w, addr); page.failing() || !strings.Contains(page.Callers, "mtls") || page.Operators != "service:deployer" {
		t.Errorf("the page says %+v", page)
	}
	if err := os.WriteFile(w.users.file, []byte(`{"keys": [`), 0o600); err != nil {
		t.Fatal(err)
	}
	soon(t, "the fault", func() bool { return identityOf(t, w, addr).failing() })
	if !is(next.token("alice", time.Hour), codes.OK) {
		t.Error("a broken file takes the keys away")
	}
	if body := deployer(t, w, addr, "/metrics"); !strings.Contains(body, "\neasyops_identity_source_failing{source=\"") || !strings.Contains(body, "users.json\"} 1\n") ||
		!strings.Contains(body, "\neasyops_certificate_expiry_timestamp_seconds ") {
		t.Errorf("metrics:\n%s", body)
	}

	old := serialOf(t, w, addr)
	w.files("server")
	soon(t, "the new certificate", func() bool { return serialOf(t, w, addr) != old })
}

func copyFile(t *testing.T, to, from string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// identityPart is what the help page says of identity.
type identityPart struct {
	Callers, Operators string
	Sources            []struct{ Name, Where, Error string }
}

func (p identityPart) failing() bool {
	for _, s := range p.Sources {
		if s.Error != "" {
			return true
		}
	}
	return false
}

func identityOf(t *testing.T, w *world, addr string) identityPart {
	t.Helper()
	var help struct{ Identity identityPart }
	if err := json.Unmarshal([]byte(deployer(t, w, addr, "/internal/help?format=json")), &help); err != nil {
		t.Fatal(err)
	}
	return help.Identity
}

// deployer gets a page as the operator.
func deployer(t *testing.T, w *world, addr, page string) string {
	t.Helper()
	p := newPeer(t, addr, ways[0], &tls.Config{
		RootCAs: w.pool(), ServerName: "localhost", MinVersion: tls.VersionTLS12,
		Certificates: []tls.Certificate{w.service("deployer", time.Time{})},
	})
	defer p.pages.CloseIdleConnections()
	return fetch(t, p, page, http.Header{})
}

func serialOf(t *testing.T, w *world, addr string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: w.pool(), ServerName: "localhost", MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}
