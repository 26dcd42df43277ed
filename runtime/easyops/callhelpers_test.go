package easyops

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	plaintext "google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/test/bufconn"
)

// The tests of calls, stops and health run a whole server in a synctest bubble:
// its listener and its connections are in memory, so that time is the bubble's
// and nothing has to be waited for.

const (
	testServiceName = "grpc.testing.TestService"
	unaryMethod     = testServiceName + "/UnaryCall"
	downMethod      = testServiceName + "/StreamingOutputCall"
	upMethod        = testServiceName + "/StreamingInputCall"
	duplexMethod    = testServiceName + "/FullDuplexCall"
)

type (
	unaryFunc func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error)
	down      = grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]
	up        = grpc.ClientStreamingServer[testpb.StreamingInputCallRequest, testpb.StreamingInputCallResponse]
	duplex    = grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]
)

// funcs implements the test service by functions. A method without one answers
// at once.
type funcs struct {
	testpb.UnimplementedTestServiceServer
	unary  unaryFunc
	down   func(*testpb.StreamingOutputCallRequest, down) error
	up     func(up) error
	duplex func(duplex) error
}

func (f *funcs) UnaryCall(ctx context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	if f.unary == nil {
		return &testpb.SimpleResponse{Payload: in.Payload}, nil
	}
	return f.unary(ctx, in)
}

func (f *funcs) EmptyCall(context.Context, *testpb.Empty) (*testpb.Empty, error) {
	return &testpb.Empty{}, nil
}

func (f *funcs) StreamingOutputCall(in *testpb.StreamingOutputCallRequest, s down) error {
	if f.down == nil {
		return s.Send(&testpb.StreamingOutputCallResponse{})
	}
	return f.down(in, s)
}

func (f *funcs) StreamingInputCall(s up) error {
	if f.up == nil {
		return s.SendAndClose(&testpb.StreamingInputCallResponse{})
	}
	return f.up(s)
}

func (f *funcs) FullDuplexCall(s duplex) error {
	if f.duplex == nil {
		return nil
	}
	return f.duplex(s)
}

func (f *funcs) service() Service {
	return Bind[testpb.TestServiceServer](testpb.RegisterTestServiceServer, f, nil)
}

// way is one of the two ways in which gRPC calls enter.
type way struct {
	name  string
	viaH2 bool // net/http's HTTP/2, where the client offers HTTP/1.1 too
}

var ways = []way{{"native", false}, {"nethttp", true}}

// eachWay runs a test in a bubble of its own for each way in.
func eachWay(t *testing.T, test func(t *testing.T, w way)) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, w) })
		})
	}
}

// inBubble runs a test by the native way only.
func inBubble(t *testing.T, test func(t *testing.T)) { synctest.Test(t, test) }

// rig is a server under test.
type rig struct {
	*Server
	t   testing.TB
	way way
	lis *memListener
	log *logBook
}

// memListener is a listener in memory whose connections have addresses, so that
// one can be told from another.
type memListener struct {
	*bufconn.Listener
	n atomic.Int32
}

func listenInMemory() *memListener { return &memListener{Listener: bufconn.Listen(1 << 16)} }

func (l *memListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return memConn{nc, memAddr(fmt.Sprintf("client-%d", l.n.Add(1)))}, nil
}

func (l *memListener) DialContext(ctx context.Context) (net.Conn, error) {
	nc, err := l.Listener.DialContext(ctx)
	if err != nil {
		return nil, err
	}
	return memConn{nc, "server"}, nil
}

func (l *memListener) Dial() (net.Conn, error) { return l.DialContext(context.Background()) }

type memConn struct {
	net.Conn
	remote memAddr
}

func (c memConn) RemoteAddr() net.Addr { return c.remote }

// Deadlines that have passed become timers that fire at once, on which Go 1.26's
// race detector can crash in a bubble (runtime.timer.unlockAndRun without a
// context). A nanosecond avoids that.

func (c memConn) SetDeadline(t time.Time) error      { return c.Conn.SetDeadline(soon(t)) }
func (c memConn) SetReadDeadline(t time.Time) error  { return c.Conn.SetReadDeadline(soon(t)) }
func (c memConn) SetWriteDeadline(t time.Time) error { return c.Conn.SetWriteDeadline(soon(t)) }

func soon(t time.Time) time.Time {
	if now := time.Now(); !t.IsZero() && !t.After(now) {
		return now.Add(time.Nanosecond)
	}
	return t
}

type memAddr string

func (memAddr) Network() string { return "bufconn" }

func (a memAddr) String() string { return string(a) }

// newRig starts a server of the test service that ends with the test, orderly
// or not.
func newRig(t testing.TB, w way, impl *funcs, opts ...ServerOption) *rig {
	t.Helper()
	return newRigOf(t, w, []Service{impl.service()}, opts...)
}

func newRigOf(t testing.TB, w way, services []Service, opts ...ServerOption) *rig {
	t.Helper()
	r := &rig{t: t, way: w, lis: listenInMemory(), log: &logBook{}}
	all := []ServerOption{
		WithFlags(nil), WithRegistry("none"), WithLogger(r.log.logger()), WithListener(r.lis),
	}
	if w.viaH2 {
		all = append(all, WithTLSConfig(&tls.Config{Certificates: []tls.Certificate{testCert()}}))
	}
	s, err := Start(services, append(all, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	r.Server = s
	t.Cleanup(func() { _ = s.Shutdown(ended()) })
	return r
}

// exposed makes a server refuse all that is not for everyone: it is what a
// caller without identity meets.
func (r *rig) exposed() *rig {
	r.trust = open
	return r
}

// ended returns a context that is over.
func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// dial returns a connection to the server.
func (r *rig) dial(opts ...grpc.DialOption) *grpc.ClientConn {
	r.t.Helper()
	creds := plaintext.NewCredentials()
	if r.way.viaH2 {
		creds = credentials.NewTLS(clientTLS("http/1.1"))
	}
	all := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return r.lis.DialContext(ctx) }),
	}
	conn, err := grpc.NewClient("passthrough:///server.test", append(all, opts...)...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (r *rig) client() testpb.TestServiceClient { return testpb.NewTestServiceClient(r.dial()) }

// httpClient returns a client for the HTTP side.
func (r *rig) httpClient() *http.Client {
	tr := &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return r.lis.DialContext(ctx) },
		TLSClientConfig:   clientTLS(),
		DisableKeepAlives: true,
	}
	r.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// get fetches a page.
func (r *rig) get(path string) (code int, body string) {
	r.t.Helper()
	code, body, err := r.fetch(path)
	if err != nil {
		r.t.Fatal(err)
	}
	return code, body
}

// fetch is get for pages that may fail.
func (r *rig) fetch(path string) (code int, body string, err error) {
	scheme := "http"
	if r.way.viaH2 {
		scheme = "https"
	}
	resp, err := r.httpClient().Get(scheme + "://localhost" + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// sample returns the value of a metric: a counter's, a gauge's or a histogram's
// count. Labels are given as pairs.
func (r *rig) sample(name string, labels ...string) float64 {
	r.t.Helper()
	families, err := r.metrics.Registry().Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	total := 0.0
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == name && hasLabels(m, labels) {
				total += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return total
}

func hasLabels(m *dto.Metric, pairs []string) bool {
	for i := 0; i < len(pairs); i += 2 {
		if !slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetName() == pairs[i] && l.GetValue() == pairs[i+1] }) {
			return false
		}
	}
	return true
}

// testCert is a certificate that is valid at any time a bubble knows.
var testCert = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "server.test"}, DNSNames: []string{"server.test", "localhost"},
		NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
})

// clientTLS trusts the certificate of the test servers.
func clientTLS(protocols ...string) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(testCert().Leaf)
	return &tls.Config{RootCAs: pool, ServerName: "server.test", NextProtos: protocols, MinVersion: tls.VersionTLS12}
}

// await waits for what happens soon, in the bubble's time.
func (r *rig) await(what string, ok func() bool) {
	r.t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	r.t.Fatalf("%s: waited for a second", what)
}
