package easyops_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// ending has a certificate end soon. It began an hour ago, so it is time to move
// on to the next.
func ending(d time.Duration) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.NotAfter = time.Now().Add(d) }
}

// replacePair replaces a certificate.
func (a *authority) replacePair(t *testing.T, cert, key string, changes ...func(*x509.Certificate)) {
	t.Helper()
	certPEM, keyPEM := a.pairFor(t, changes...)
	putFile(t, key, keyPEM)
	putFile(t, cert, certPEM)
}

func (l *logs) await(t *testing.T, message string) {
	t.Helper()
	for ctx := within(t, 10*time.Second); len(l.with(t, message)) == 0; time.Sleep(time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatalf("%q was never said:\n%s", message, l)
		}
	}
}

// TestOpenConnectionsStay: when files change while the certificate that was shown
// is good for long, nothing is done that could go wrong.
func TestOpenConnectionsStay(t *testing.T) {
	ca, seen, l := newAuthority(t), &shown{}, &logs{}
	cert, key := ca.filesFor(t, dns(echoName))
	dir := easyops.WithRegistry("local:" + shortDir(t))
	serveEcho(t, seen, openly(dir, easyops.WithTLSFiles(cert, key, ca.file))...)
	var dials atomic.Int64
	once := easyops.DialGRPC(grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		if dials.Add(1) > 1 {
			return nil, errors.New("no new connection just now")
		}
		return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	}))
	cert, key = ca.filesFor(t, dns("first"))
	client := dialEcho(t, apart(dir), easyops.WithLogger(l.logger()), easyops.WithTLSFiles(cert, key, ca.file), once)
	say(t, client, "hi")
	ca.replacePair(t, cert, key, dns("second"), ending(2*time.Hour))
	l.await(t, "read again and in force")
	say(t, client, "hi")
	time.Sleep(1100 * time.Millisecond) // for one more look
	say(t, client, "hi")
	if n := dials.Load(); n != 1 {
		t.Errorf("it connected %d times", n)
	}
	say(t, dialEcho(t, apart(dir), easyops.WithTLSFiles(cert, key, ca.file)), "hi")
	seen.wait(t, "second") // by connections that are new
}

// TestRenewalThatIsRefused: a server that does not take the new certificate keeps
// the connections that have shown the old one, and gets new ones when there is
// one that it takes.
func TestRenewalThatIsRefused(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	renamed := *other.cert // servers name the authorities that they know
	renamed.RawSubject, _ = asn1.Marshal(pkix.Name{CommonName: "another authority"}.ToRDNSequence())
	other.cert = &renamed
	for _, test := range []struct {
		name  string
		by    *authority
		fault string
	}{
		{"unknown authority", other, "does not know the authority of our new certificate"},
		{"refused", ca, "bad certificate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			seen, l := &shown{}, &logs{}
			certPEM, keyPEM := ca.pairFor(t, dns(echoName))
			pair, err := tls.X509KeyPair(certPEM, keyPEM)
			if err != nil {
				t.Fatal(err)
			}
			dir := easyops.WithRegistry("local:" + shortDir(t))
			serveEcho(t, seen, openly(dir, easyops.WithTLSConfig(&tls.Config{
				Certificates: []tls.Certificate{pair}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: ca.client().RootCAs,
				VerifyConnection: func(s tls.ConnectionState) error {
					if len(s.PeerCertificates) > 0 && slices.Contains(s.PeerCertificates[0].DNSNames, "second") {
						return errors.New("not the second")
					}
					return nil
				},
			}))...)
			cert, key := ca.filesFor(t, dns("first"), ending(time.Minute))
			client := dialEcho(t, apart(dir), easyops.WithLogger(l.logger()), easyops.WithTLSFiles(cert, key, ca.file))
			say(t, client, "hi")
			load := callAll(t, client)
			defer load()
			test.by.replacePair(t, cert, key, dns("second"), ending(2*time.Minute))
			const stays = "no new connection to an instance, the former one stays"
			l.await(t, stays)
			mustContain(t, l.with(t, stays)[0]["err"].(string), test.fault)
			say(t, client, "hi")
			seen.wait(t, "first")
			ca.replacePair(t, cert, key, dns("third"), ending(3*time.Minute))
			seen.wait(t, "third")
		})
	}
}

// TestSessionsAreNotResumed: in each connection the server asks who we are, or is
// told by our token.
func TestSessionsAreNotResumed(t *testing.T) {
	ca, h := newAuthority(t), &hearing{}
	load := func(names ...string) tls.Certificate {
		certPEM, keyPEM := ca.pairFor(t, dns(names...))
		pair, err := tls.X509KeyPair(certPEM, keyPEM)
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	s := serveEcho(t, h, openly(easyops.WithTLSConfig(&tls.Config{Certificates: []tls.Certificate{load("localhost")}}))...) // which asks for none
	_, port, _ := net.SplitHostPort(s.Addr().String())
	config := &tls.Config{
		RootCAs: ca.client().RootCAs, Certificates: []tls.Certificate{load("caller")}, ClientSessionCache: tls.NewLRUClientSessionCache(8),
	}
	for range 3 {
		client := dialEcho(t, apart(), easyops.DialTarget("localhost:"+port), easyops.WithTLSConfig(config), easyops.WithServiceToken(tokenFile(t, "svc")))
		var p peer.Peer
		if _, err := client.Echo(t.Context(), &echov1.EchoRequest{}, grpc.Peer(&p)); err != nil {
			t.Fatal(err)
		}
		if user, _ := h.heard(); user != "Bearer svc" {
			t.Errorf("heard %q", user)
		}
		link, ok := p.AuthInfo.(interface{ ConnectionState() tls.ConnectionState })
		if !ok || link.ConnectionState().DidResume || len(link.ConnectionState().PeerCertificates) == 0 {
			t.Errorf("the peer is %T, or its session was resumed", p.AuthInfo)
		}
	}
}
