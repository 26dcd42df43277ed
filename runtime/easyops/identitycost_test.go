package easyops

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/go-easyops/easyops/runtime/auth"
)

// keyFile writes a JWKS and returns what signs tokens that it verifies.
func keyFile(t testing.TB) (file string, token func(subject string) string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	file = filepath.Join(t.TempDir(), "keys.json")
	keys, err := json.Marshal(map[string]any{"keys": []any{map[string]string{
		"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "k1", "x": base64.RawURLEncoding.EncodeToString(public),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, keys, 0o600); err != nil {
		t.Fatal(err)
	}
	return file, func(subject string) string {
		now := time.Now()
		text := part(map[string]string{"alg": "EdDSA", "kid": "k1"}) + "." + part(map[string]any{
			"iss": "https://issuer.test", "aud": "test", "sub": subject, "groups": []string{"staff", "everyone"},
			"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		})
		return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(private, []byte(text)))
	}
}

// callPath returns a call through the runtime's own path, as grpc-go makes it,
// with the metadata that clients of grpc-go send and a token, if any.
func callPath(t testing.TB, token string, opts ...ServerOption) func() {
	t.Helper()
	m := newRig(t, ways[0], &funcs{}, opts...).methods[unaryMethod]
	handle := m.unary(func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		return nil, decode(nil)
	})
	md := metadata.Pairs(":authority", "server.test", "content-type", "application/grpc", "user-agent", "grpc-go/1.85.0", "grpc-accept-encoding", "gzip")
	if token != "" {
		md.Set(auth.UserHeader, "Bearer "+token)
	}
	ctx := peer.NewContext(metadata.NewIncomingContext(context.Background(), md), &peer.Peer{
		Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4100},
		AuthInfo: credentials.TLSInfo{State: tls.ConnectionState{
			PeerCertificates: []*x509.Certificate{testCert().Leaf}, VerifiedChains: [][]*x509.Certificate{{testCert().Leaf}},
		}},
	})
	ctx, cancel := context.WithCancel(ctx) // as grpc-go's
	t.Cleanup(cancel)
	decode := func(any) error { return nil }
	return func() {
		if _, err := handle(nil, ctx, decode, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// identities are the ways of knowing who calls whose cost is measured.
func identities(t testing.TB) map[string]func() {
	file, token := keyFile(t)
	spec := "jwks:" + file + "?issuer=https://issuer.test&audience=test"
	withTLS := WithTLSConfig(&tls.Config{
		Certificates: []tls.Certificate{testCert()}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: clientTLS().RootCAs,
	})
	return map[string]func(){
		"everyone": callPath(t, "", WithAccess(unaryMethod, auth.Access{Allow: auth.Everyone})),
		"nobody":   callPath(t, ""),
		"token":    callPath(t, token("alice"), WithAuth(spec), WithAccess(unaryMethod, auth.Access{Groups: []string{"staff"}})),
		"mtls":     callPath(t, "", WithAuth("mtls"), withTLS),
		"both":     callPath(t, token("alice"), WithAuth(spec, "mtls"), withTLS),
	}
}

// BenchmarkCallPath measures what the runtime does around a handler, without
// grpc-go, in which it is hard to see: with a rule for everyone, with nothing
// that knows callers, and with tokens and certificates that were seen before.
func BenchmarkCallPath(b *testing.B) {
	for name, call := range identities(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				call()
			}
		})
	}
}

// Knowing who calls costs no allocation, once a token or a certificate has been
// seen.
func TestAllocationsOfIdentity(t *testing.T) {
	calls := identities(t)
	most := leastAllocs(calls["everyone"])
	if raceDetector() {
		most++ // it keeps functions from being inlined
	}
	for name, call := range calls {
		if n := leastAllocs(call); n > most {
			t.Errorf("%s: %.1f allocations a call, %.1f for everyone", name, n, most)
		}
	}
}
