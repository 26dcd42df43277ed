package easyops

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	plaintext "google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
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

type memConn struct {
	net.Conn
	remote memAddr
}

func (c memConn) RemoteAddr() net.Addr { return c.remote }

type memAddr string

func (memAddr) Network() string  { return "bufconn" }
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

// logBook keeps what is logged.
type logBook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBook) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// entry is a line of the log. Values that it does not have are empty.
type entry map[string]any

func (e entry) text(key string) string {
	s, _ := e[key].(string)
	return s
}

// lines returns the log's lines with the message, all for an empty one.
func (b *logBook) lines(msg string) (found []entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range strings.Lines(b.buf.String()) {
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			panic(err)
		}
		if msg == "" || e["msg"] == msg {
			found = append(found, e)
		}
	}
	return found
}

// one returns the only line with the message.
func (b *logBook) one(t testing.TB, msg string) entry {
	t.Helper()
	found := b.lines(msg)
	if len(found) != 1 {
		t.Fatalf("log has %d lines %q, want 1: %v", len(found), msg, found)
	}
	return found[0]
}

// order returns the messages of the log in order, of those that are asked for.
func (b *logBook) order(messages ...string) (got []string) {
	for _, e := range b.lines("") {
		if slices.Contains(messages, e.text("msg")) {
			got = append(got, e.text("msg"))
		}
	}
	return got
}

func wantCode(t testing.TB, err error, want codes.Code) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Fatalf("code %v, want %v: %v", got, want, err)
	}
}

func wantEqual[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// wantWithin checks how long something took, in the bubble's time.
func wantWithin(t testing.TB, what string, since time.Time, least, most time.Duration) {
	t.Helper()
	if d := time.Since(since); d < least || d > most {
		t.Errorf("%s took %v, want %v to %v", what, d, least, most)
	}
}

// receives waits for a channel, for a time that nothing in these tests takes.
func receives[T any](t testing.TB, what string, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(time.Hour):
		t.Fatalf("%s: nothing came", what)
	}
	return v
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

// rawConn is a client that writes HTTP/2 frames one by one.
type rawConn struct {
	t testing.TB
	net.Conn
	*http2.Framer
	hpack bytes.Buffer
	enc   *hpack.Encoder
	ended map[uint32]*status.Status // of the streams that nobody has asked about yet
}

// raw opens a connection and exchanges SETTINGS.
func (r *rig) raw() *rawConn {
	r.t.Helper()
	nc, err := r.lis.Dial()
	if err != nil {
		r.t.Fatal(err)
	}
	if r.way.viaH2 {
		nc = tls.Client(nc, clientTLS("h2", "http/1.1"))
	}
	r.t.Cleanup(func() { _ = nc.Close() })
	c := &rawConn{t: r.t, Conn: nc, Framer: http2.NewFramer(nc, nc), ended: map[uint32]*status.Status{}}
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.enc = hpack.NewEncoder(&c.hpack)
	_, err = io.WriteString(nc, http2.ClientPreface)
	c.must(err)
	c.must(c.WriteSettings())
	return c
}

func (c *rawConn) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// headers begins a call of the path, and sends nothing else.
func (c *rawConn) headers(stream uint32, path string) {
	c.t.Helper()
	c.must(c.tryHeaders(stream, path))
}

func (c *rawConn) tryHeaders(stream uint32, path string) error {
	c.hpack.Reset()
	for _, f := range []hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: path},
		{Name: ":authority", Value: "server.test"}, {Name: "te", Value: "trailers"}, {Name: "content-type", Value: "application/grpc"},
	} {
		if err := c.enc.WriteField(f); err != nil {
			return err
		}
	}
	return c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: c.hpack.Bytes(), EndHeaders: true})
}

// message sends an empty message, as the last one of the stream or not.
func (c *rawConn) message(stream uint32, last bool) {
	c.t.Helper()
	c.must(c.WriteData(stream, last, []byte{0, 0, 0, 0, 0}))
}

// status reads until the stream has its status. It fails the test when the
// server falls silent for longer than the limit.
func (c *rawConn) status(stream uint32, limit time.Duration) *status.Status {
	c.t.Helper()
	c.must(c.SetReadDeadline(time.Now().Add(limit)))
	for c.ended[stream] == nil {
		f, err := c.ReadFrame()
		if err != nil {
			c.t.Fatalf("no status within %v: %v", limit, err)
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				c.must(c.WriteSettingsAck())
			}
		case *http2.MetaHeadersFrame:
			if st := grpcStatus(f); st != nil {
				c.ended[f.StreamID] = st
			}
		}
	}
	return c.ended[stream]
}

func grpcStatus(f *http2.MetaHeadersFrame) *status.Status {
	code, msg := "", ""
	for _, h := range f.RegularFields() {
		switch h.Name {
		case "grpc-status":
			code = h.Value
		case "grpc-message":
			msg = h.Value
		}
	}
	if code == "" {
		return nil
	}
	n, _ := new(big.Int).SetString(code, 10)
	return status.New(codes.Code(n.Int64()), msg) // #nosec G115 -- of our own server
}
