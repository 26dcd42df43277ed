package port_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/peer"

	"github.com/go-easyops/easyops/runtime/port"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers gRPC calls; block, where set, holds calls whose payload is "wait".
type echo struct {
	testpb.UnimplementedTestServiceServer
	mu    sync.Mutex
	peers []*peer.Peer
	begun chan struct{}
	block chan struct{}
	// seen, where set, is told of every call and HTTP request.
	seen func(context.Context)
}

func (e *echo) UnaryCall(ctx context.Context, r *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	p, _ := peer.FromContext(ctx)
	if e.seen != nil {
		e.seen(ctx)
	}
	e.mu.Lock()
	e.peers = append(e.peers, p)
	e.mu.Unlock()
	if string(r.GetPayload().GetBody()) == "wait" {
		e.begun <- struct{}{}
		<-e.block
	}
	return &testpb.SimpleResponse{Payload: r.GetPayload()}, nil
}

func (e *echo) lastPeer(t *testing.T) *peer.Peer {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.peers) == 0 {
		t.Fatal("no call arrived")
	}
	return e.peers[len(e.peers)-1]
}

// node is a whole server: a port, both stacks behind it.
type node struct {
	*port.Port
	echo *echo
	grpc *grpc.Server
	// viaHTTP serves gRPC calls that come over net/http; it drains with the HTTP server.
	viaHTTP *grpc.Server
	addr    string
	served  chan error
}

type nodeOption func(*port.Config, *http.Server)

func secure(c *port.Config, _ *http.Server) { c.TLS = serverTLS() }

func quick(c *port.Config, _ *http.Server) { c.ClassifyTimeout = 100 * time.Millisecond }

func start(t testing.TB, opts ...nodeOption) *node {
	t.Helper()
	return startOn(t, listen(t), opts...)
}

func startOn(t testing.TB, lis net.Listener, opts ...nodeOption) *node {
	t.Helper()
	cfg := port.Config{Logger: slog.New(slog.DiscardHandler)}
	n := &node{
		echo:   &echo{begun: make(chan struct{}, 100), block: make(chan struct{})},
		addr:   lis.Addr().String(),
		served: make(chan error, 2),
	}
	srv := &http.Server{
		Handler:           http.HandlerFunc(n.serveHTTP),
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	for _, o := range opts {
		o(&cfg, srv)
	}
	n.Port = port.New(lis, srv, cfg)
	n.grpc = grpc.NewServer(grpc.Creds(n.Credentials()), grpc.NumStreamWorkers(2))
	n.viaHTTP = grpc.NewServer()
	testpb.RegisterTestServiceServer(n.grpc, n.echo)
	testpb.RegisterTestServiceServer(n.viaHTTP, n.echo)
	go func() { n.served <- n.grpc.Serve(n.GRPCListener()) }()
	go func() { n.served <- n.Serve() }()
	t.Cleanup(func() { n.stop(t) })
	return n
}

func (n *node) stop(t testing.TB) {
	n.grpc.Stop()
	n.viaHTTP.Stop()
	if err := n.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	for range 2 {
		err := <-n.served
		if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, grpc.ErrServerStopped) {
			t.Errorf("serve: %v", err)
		}
	}
}

func (n *node) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if port.IsGRPC(r) {
		n.viaHTTP.ServeHTTP(w, r)
		return
	}
	if n.echo.seen != nil {
		n.echo.seen(r.Context())
	}
	switch r.URL.Path {
	case "/wait":
		n.echo.begun <- struct{}{}
		<-n.echo.block
	case "/back": // as HTTP/1 has it, the whole request before the answer
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
		return
	case "/body":
		_, _ = io.Copy(w, r.Body)
		return
	}
	_, _ = fmt.Fprintf(w, "%s tls=%t", r.Proto, r.TLS != nil)
}

// pki is made once: a CA, a server certificate and a client certificate with a SPIFFE ID.
var pki = sync.OnceValue(func() (p struct {
	pool           *x509.CertPool
	server, client tls.Certificate
},
) {
	ca, caKey := certificate(nil, nil, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	p.pool = x509.NewCertPool()
	p.pool.AddCert(ca)
	issue := func(tmpl *x509.Certificate) tls.Certificate {
		c, key := certificate(ca, caKey, tmpl)
		return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key, Leaf: c}
	}
	p.server = issue(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}})
	p.client = issue(&x509.Certificate{URIs: []*url.URL{{Scheme: "spiffe", Host: "example.org", Path: "/caller"}}})
	return p
})

func certificate(ca *x509.Certificate, caKey *ecdsa.PrivateKey, tmpl *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tmpl.SerialNumber = big.NewInt(time.Now().UnixNano())
	tmpl.Subject = pkix.Name{CommonName: "test"}
	tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if ca == nil {
		ca, caKey = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca, &key.PublicKey, caKey)
	if err != nil {
		panic(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return c, key
}

func serverTLS() *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{pki().server},
		ClientAuth:   tls.VerifyClientCertIfGiven,
		ClientCAs:    pki().pool,
	}
}

func clientTLS(alpn ...string) *tls.Config {
	return &tls.Config{RootCAs: pki().pool, ServerName: "localhost", NextProtos: alpn}
}

// dial makes a grpc-go client of addr; nil means plaintext.
func dial(t testing.TB, addr string, cfg *tls.Config, opts ...grpc.DialOption) testpb.TestServiceClient {
	t.Helper()
	creds := insecure.NewCredentials()
	if cfg != nil {
		creds = credentials.NewTLS(cfg)
	}
	if !strings.Contains(addr, ":///") {
		addr = "passthrough:///" + addr
	}
	cc, err := grpc.NewClient(addr, append(opts, grpc.WithTransportCredentials(creds))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return testpb.NewTestServiceClient(cc)
}

func request(body string) *testpb.SimpleRequest {
	return &testpb.SimpleRequest{Payload: &testpb.Payload{Body: []byte(body)}}
}

func timeout(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// call makes one unary call and checks the echo.
func call(t testing.TB, c testpb.TestServiceClient, body string) {
	t.Helper()
	res, err := c.UnaryCall(timeout(t), request(body))
	if err != nil {
		t.Fatalf("call: %v", err)
	}
	if got := string(res.GetPayload().GetBody()); got != body {
		t.Fatalf("call: got %q, want %q", got, body)
	}
}

// get makes one HTTP request and returns the body.
func get(t testing.TB, rt http.RoundTripper, rawURL string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(timeout(t), http.MethodGet, rawURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	return string(b)
}

// transport makes an http.Transport of just the given protocols.
func transport(t testing.TB, cfg *tls.Config, set ...func(*http.Protocols, bool)) *http.Transport {
	var protos http.Protocols
	for _, f := range set {
		f(&protos, true)
	}
	tr := &http.Transport{TLSClientConfig: cfg.Clone(), Protocols: &protos}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

var (
	http1 = (*http.Protocols).SetHTTP1
	http2 = (*http.Protocols).SetHTTP2
	h2c   = (*http.Protocols).SetUnencryptedHTTP2
)
