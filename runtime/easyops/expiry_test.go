package easyops

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/go-easyops/easyops/runtime/auth"
)

// A stream ends with the identity that it was begun with; a unary call does not.
func TestStreamsEndWithTheIdentity(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		impl := &funcs{
			unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
				time.Sleep(time.Minute)
				return &testpb.SimpleResponse{}, nil
			},
			duplex: func(s duplex) error { <-s.Context().Done(); return nil },
		}
		r := newRig(t, w, impl, WithAuthenticator(byWord), WithLimits(Limits{HTTPRead: time.Hour}),
			WithHTTP("/events", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			})))
		client, ctx := r.client(), as(t.Context(), "user.alice.for.30s", "service.shop.for.20s")
		begun := time.Now()
		s, err := client.FullDuplexCall(ctx)
		wantCode(t, err, codes.OK)
		_, err = s.Recv()
		wantCode(t, err, codes.Unauthenticated)
		wantWithin(t, "the stream", begun, 20*time.Second, 21*time.Second)

		_, err = client.UnaryCall(as(t.Context(), "user.alice.for.30s"), &testpb.SimpleRequest{})
		wantCode(t, err, codes.OK)

		begun = time.Now()
		if code, body, err := r.fetchAs("/events", "user.alice.for.30s"); err == nil {
			t.Errorf("the answer is whole: %d %q", code, body)
		}
		wantWithin(t, "the events", begun, 30*time.Second, 31*time.Second)
	})
}

// A stream ends with the certificate of its caller; one that nobody verifies
// says nothing.
func TestStreamsEndWithTheCertificate(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		for name, how := range map[string]tls.ClientAuthType{"verified": tls.VerifyClientCertIfGiven, "not verified": tls.RequestClientCert} {
			ca, cert := clientCert(t, "spiffe://bubble.test/shop", 30*time.Second)
			config := &tls.Config{Certificates: []tls.Certificate{testCert()}, ClientAuth: how, ClientCAs: ca}
			r := newRig(t, w, &funcs{duplex: func(s duplex) error { <-s.Context().Done(); return nil }}, WithTLSConfig(config),
				WithAuthenticator(auth.MTLS(nil)), WithAccess(testServiceName, auth.Access{Services: []string{"spiffe://bubble.test/shop"}}))
			client := clientTLS()
			if w.viaH2 {
				client = clientTLS("http/1.1")
			}
			client.Certificates = []tls.Certificate{cert}
			begun := time.Now()
			s, err := testpb.NewTestServiceClient(r.dial(grpc.WithTransportCredentials(credentials.NewTLS(client)))).FullDuplexCall(t.Context())
			wantCode(t, err, codes.OK)
			_, err = s.Recv()
			wantCode(t, err, codes.Unauthenticated)
			if name == "verified" {
				wantWithin(t, name, begun, 29*time.Second, 31*time.Second)
			} else {
				wantWithin(t, name, begun, 0, time.Second)
			}
		}
	})
}

// clientCert makes a certificate of a service that is good for so long, and who
// vouches for it.
func clientCert(t *testing.T, id string, ttl time.Duration) (*x509.CertPool, tls.Certificate) {
	t.Helper()
	uri, err := url.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), PublicKey: key.Public(),
	}
	pool := x509.NewCertPool()
	sign := func(template *x509.Certificate) []byte {
		der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	root, err := x509.ParseCertificate(sign(ca))
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(root)
	leaf := sign(&x509.Certificate{
		SerialNumber: big.NewInt(7), URIs: []*url.URL{uri}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(ttl),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return pool, tls.Certificate{Certificate: [][]byte{leaf}, PrivateKey: key}
}

// fetchAs is fetch with a token.
func (r *rig) fetchAs(path, token string) (code int, body string, err error) {
	client := r.httpClient()
	client.Transport = withHeader{client.Transport, token}
	scheme := "http"
	if r.way.viaH2 {
		scheme = "https"
	}
	resp, err := client.Get(scheme + "://localhost" + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

type withHeader struct {
	http.RoundTripper
	token string
}

func (h withHeader) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set(auth.UserHeader, "Bearer "+h.token)
	return h.RoundTripper.RoundTrip(r)
}
