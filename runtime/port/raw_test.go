package port_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/go-easyops/easyops/runtime/port"
)

// rawDial connects and makes every read end within 10 s.
func rawDial(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

// rawTLS does the handshake with the given ALPN offer.
func rawTLS(t testing.TB, addr string, alpn ...string) *tls.Conn {
	t.Helper()
	c := tls.Client(rawDial(t, addr), clientTLS(alpn...))
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c
}

// h2conn speaks frames.
type h2conn struct {
	net.Conn
	*xhttp2.Framer
}

func rawH2(t testing.TB, c net.Conn) *h2conn {
	t.Helper()
	send(t, c, xhttp2.ClientPreface)
	f := xhttp2.NewFramer(c, c)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return &h2conn{c, f}
}

func send(t testing.TB, c io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

func headers(kv ...string) []byte {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for i := 0; i < len(kv); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: kv[i], Value: kv[i+1]})
	}
	return b.Bytes()
}

func grpcRequest() []byte {
	return headers(":method", "POST", ":scheme", "http", ":authority", "x", ":path", "/grpc.testing.TestService/UnaryCall",
		"content-type", "application/grpc", "te", "trailers")
}

// next reads frames until one of type T.
func next[T xhttp2.Frame](t testing.TB, c *h2conn) T {
	t.Helper()
	for {
		f, err := c.ReadFrame()
		if err != nil {
			var want T
			t.Fatalf("waiting for %T: %v", want, err)
		}
		if f, ok := f.(T); ok {
			return f
		}
	}
}

// closedAfter reads until the server closes c and returns how long that took.
func closedAfter(t testing.TB, c net.Conn) time.Duration {
	t.Helper()
	began := time.Now()
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the server did not close the connection")
	}
	return time.Since(began)
}

func TestSlowClients(t *testing.T) {
	plain, enc := start(t, quick), start(t, secure, quick)
	half := func(s string) func(*testing.T) net.Conn {
		return func(t *testing.T) net.Conn {
			c := rawDial(t, plain.addr)
			send(t, c, s)
			return c
		}
	}
	settings := "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	for name, connect := range map[string]func(*testing.T) net.Conn{
		"silent":                half(""),
		"half preface":          half(xhttp2.ClientPreface[:10]),
		"no SETTINGS":           half(xhttp2.ClientPreface),
		"half SETTINGS":         half(xhttp2.ClientPreface + settings[:5]),
		"half HEADERS":          half(xhttp2.ClientPreface + settings + "\x00\x00\x05\x01\x04\x00\x00\x00\x01a"),
		"HEADERS without end":   half(xhttp2.ClientPreface + settings + "\x00\x00\x01\x01\x00\x00\x00\x00\x01\x82"),
		"silent TLS":            func(t *testing.T) net.Conn { return rawDial(t, enc.addr) },
		"TLS h2, then silent":   func(t *testing.T) net.Conn { return rawTLS(t, enc.addr, "h2") },
		"TLS both, then silent": func(t *testing.T) net.Conn { return rawTLS(t, enc.addr, "h2", "http/1.1") },
		"TLS both, no SETTINGS": func(t *testing.T) net.Conn {
			c := rawTLS(t, enc.addr, "h2", "http/1.1")
			send(t, c, xhttp2.ClientPreface)
			return c
		},
		"TLS h2, then HTTP/1.1": func(t *testing.T) net.Conn {
			c := rawTLS(t, enc.addr, "h2")
			send(t, c, "GET / HTTP/1.1\r\n\r\n")
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if d := closedAfter(t, connect(t)); d > 5*time.Second {
				t.Errorf("closed after %v", d)
			}
		})
	}
	t.Run("negative control: a waiting gRPC client is kept", func(t *testing.T) {
		t.Parallel()
		c := rawH2(t, rawDial(t, plain.addr))
		eventually(t, func() bool { return plain.Conns().GRPC == 1 }) // without a request so far
		if err := c.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: grpcRequest(), EndHeaders: true}); err != nil {
			t.Fatal(err)
		}
		_ = c.WriteData(1, true, []byte{0, 0, 0, 0, 0})
		if got := grpcStatus(t, c); got != "0" {
			t.Errorf("grpc-status %q", got)
		}
	})
}

// grpcStatus reads up to the trailers of the first call and returns its grpc-status.
func grpcStatus(t testing.TB, c *h2conn) string {
	t.Helper()
	for {
		h := next[*xhttp2.MetaHeadersFrame](t, c)
		for _, f := range h.Fields {
			if f.Name == "grpc-status" {
				return f.Value
			}
		}
	}
}

func TestFirstSettings(t *testing.T) {
	for name, c := range map[string]net.Conn{
		"plaintext": rawDial(t, start(t).addr),
		"TLS":       rawTLS(t, start(t, secure).addr, "h2"),
	} {
		h := rawH2(t, c)
		f, err := h.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		s, ok := f.(*xhttp2.SettingsFrame)
		if !ok {
			t.Fatalf("%s: first frame is %v", name, f)
		}
		if v, ok := s.Value(xhttp2.SettingNoRFC7540Priorities); !ok || v != 1 {
			t.Errorf("%s: NO_RFC7540_PRIORITIES missing in %v", name, s)
		}
		if v, ok := s.Value(xhttp2.SettingMaxConcurrentStreams); !ok || v != 250 {
			t.Errorf("%s: MAX_CONCURRENT_STREAMS missing in %v", name, s)
		}
	}
}

// The client's ACK of the port's SETTINGS comes before, between and after the first request;
// neither stack may take offence, and both answer a PING at the end.
func TestAcknowledgements(t *testing.T) {
	n := start(t)
	request := map[string][]byte{
		"grpc": grpcRequest(),
		"http": headers(":method", "POST", ":scheme", "http", ":authority", "x", ":path", "/body"),
	}
	for stack, h := range request {
		for when := range 3 {
			c := rawH2(t, rawDial(t, n.addr))
			ack := func(at int) {
				if at == when {
					next[*xhttp2.SettingsFrame](t, c)
					_ = c.WriteSettingsAck()
				}
			}
			ack(0)
			_ = c.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: h, EndHeaders: true})
			ack(1)
			_ = c.WriteData(1, true, []byte{0, 0, 0, 0, 0})
			ack(2)
			_ = c.WriteSettingsAck() // of the stack's own
			_ = c.WritePing(false, [8]byte{1})
			ping := next[*xhttp2.PingFrame](t, c)
			for !ping.IsAck() { // grpc-go sends some of its own
				ping = next[*xhttp2.PingFrame](t, c)
			}
			if ping.Data != [8]byte{1} {
				t.Errorf("%s, ACK at %d: %v", stack, when, ping)
			}
		}
	}
}

// Negative control of the above: net/http does end a connection for an ACK too many.
func TestAcknowledgementTooMany(t *testing.T) {
	c := rawH2(t, rawDial(t, start(t).addr))
	_ = c.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: headers(":method", "GET", ":scheme", "http", ":authority", "x", ":path", "/"), EndHeaders: true, EndStream: true})
	for range 3 {
		_ = c.WriteSettingsAck()
	}
	if code := next[*xhttp2.GoAwayFrame](t, c).ErrCode; code != xhttp2.ErrCodeProtocol {
		t.Errorf("goaway %v", code)
	}
}

// A client may wait for the answers to its SETTINGS and PINGs before it sends a request. Both come
// at once, and each once only, whichever stack takes the connection then.
func TestAnswersBeforeTheFirstRequest(t *testing.T) {
	plain, enc, idle := start(t), start(t, secure), start(t, quick)
	http := headers(":method", "POST", ":scheme", "http", ":authority", "x", ":path", "/body", "content-type", "text/plain")
	for _, tc := range []struct {
		name    string
		conn    net.Conn
		request []byte
		waiting bool
	}{
		{"grpc", rawDial(t, plain.addr), grpcRequest(), false},
		{"http", rawDial(t, plain.addr), http, false},
		{"TLS, grpc", rawTLS(t, enc.addr, "h2"), grpcRequest(), false},
		{"TLS, http", rawTLS(t, enc.addr, "h2"), http, false},
		{"grpc, taken for a client that waits", rawDial(t, idle.addr), grpcRequest(), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			began := time.Now()
			c := rawH2(t, tc.conn)
			acks := c.acksUntilPong(t, 1)
			_ = c.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 1 << 20})
			acks += c.acksUntilPong(t, 2)
			if d := time.Since(began); acks != 2 || d > 4*time.Second {
				t.Fatalf("%d acknowledgements of 2 SETTINGS, after %v", acks, d)
			}
			if tc.waiting {
				eventually(t, func() bool { return idle.Conns().GRPC == 1 })
			}
			_ = c.WriteSettingsAck()
			_ = c.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: tc.request, EndHeaders: true})
			_ = c.WriteData(1, true, []byte{0, 0, 0, 0, 0})
			if acks := c.acksUntilPong(t, 3); acks != 0 {
				t.Errorf("%d acknowledgements too many", acks)
			}
			_ = c.WriteSettingsAck()
			_ = c.WriteSettings()
			if acks := c.acksUntilPong(t, 4); acks != 1 {
				t.Errorf("control: %d acknowledgements of the stack's, want 1", acks)
			}
		})
	}
}

// acksUntilPong sends a PING and counts the SETTINGS acknowledgements that come before its answer.
func (c *h2conn) acksUntilPong(t *testing.T, data byte) (acks int) {
	t.Helper()
	_ = c.WritePing(false, [8]byte{data})
	for {
		f, err := c.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *xhttp2.SettingsFrame:
			if f.IsAck() {
				acks++
			}
		case *xhttp2.PingFrame:
			if f.IsAck() && f.Data == [8]byte{data} {
				return acks
			}
		}
	}
}

// The answers that the port gives are bounded.
func TestPingsBeforeTheFirstRequest(t *testing.T) {
	c := rawH2(t, rawDial(t, start(t).addr))
	for range 1000 {
		_ = c.WritePing(false, [8]byte{1})
	}
	pongs := 0
	for {
		f, err := c.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := f.(*xhttp2.PingFrame); ok && p.IsAck() {
			pongs++
		}
		if g, ok := f.(*xhttp2.GoAwayFrame); ok {
			if g.ErrCode != xhttp2.ErrCodeEnhanceYourCalm || pongs != 63 {
				t.Errorf("%v after %d answers", g, pongs)
			}
			return
		}
	}
}

func TestRejected(t *testing.T) {
	c := rawH2(t, rawDial(t, start(t).addr))
	if err := c.WriteData(1, false, []byte("no stream")); err != nil {
		t.Fatal(err)
	}
	f := next[*xhttp2.GoAwayFrame](t, c)
	if f.ErrCode != xhttp2.ErrCodeProtocol || f.LastStreamID != 0 {
		t.Errorf("%v", f)
	}
}

func TestRequestInPieces(t *testing.T) {
	n := start(t)
	for name, in := range map[string]string{
		"http/1.1":                      "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"looks like HTTP/2 for a while": "PRI * HTTP/1.0\r\n\r\n",
	} {
		c := rawDial(t, n.addr)
		for i := range in {
			send(t, c, in[i:i+1])
		}
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = res.Body.Close()
	}
}

func TestPlaintextToTLSPort(t *testing.T) {
	c := rawDial(t, start(t, secure).addr)
	send(t, c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	b, _ := io.ReadAll(c)
	if !strings.HasPrefix(string(b), "HTTP/1.0 400 ") || !strings.Contains(string(b), "use https") {
		t.Errorf("got %q", b)
	}
}

func TestUserTLSCallbacks(t *testing.T) {
	called := 0
	n := start(t, secure, func(c *port.Config, _ *http.Server) {
		own := c.TLS.Clone()
		c.TLS.Certificates = nil
		c.TLS.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if called++; called == 2 {
				panic("user's bug")
			}
			if hello.ServerName != "localhost" {
				return nil, errors.New("unknown name")
			}
			return own, nil
		}
	})
	c := rawTLS(t, n.addr, "h2")
	if got := c.ConnectionState().NegotiatedProtocol; got != "h2" {
		t.Errorf("negotiated %q", got)
	}
	if err := tls.Client(rawDial(t, n.addr), clientTLS()).Handshake(); err == nil {
		t.Error("handshake survived the panic")
	}
	call(t, dial(t, n.addr, clientTLS()), "after the panic")
}

func TestCaps(t *testing.T) {
	for name, cfg := range map[string]port.Config{
		"in total": {MaxConns: 3},
		"per peer": {MaxConnsPerIP: 3},
	} {
		t.Run(name, func(t *testing.T) {
			var log logBuffer
			n := start(t, func(c *port.Config, _ *http.Server) {
				c.MaxConns, c.MaxConnsPerIP = cfg.MaxConns, cfg.MaxConnsPerIP
				c.Logger = slog.New(slog.NewTextHandler(&log, nil))
			})
			conns := make([]net.Conn, 3)
			for i := range conns {
				conns[i] = rawDial(t, n.addr)
				eventually(t, func() bool { return n.Conns().Open == i+1 })
			}
			for range 10 {
				if d := closedAfter(t, rawDial(t, n.addr)); d > 2*time.Second {
					t.Errorf("closed after %v", d)
				}
			}
			if got := strings.Count(log.String(), "connection refused"); got < 1 || got > 3 {
				t.Errorf("%d log lines for 10 refused connections:\n%s", got, log.String())
			}
			_ = conns[0].Close()
			eventually(t, func() bool { return n.Conns().Open == 2 })
			call(t, dial(t, n.addr, nil), "there is room again")
		})
	}
}

// logBuffer is a bytes.Buffer for concurrent use.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// eventually waits for a condition that other goroutines bring about.
func eventually(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("condition not met within 5 s")
}

// A connection is cut by its use, once, and no other is.
func TestUseClose(t *testing.T) {
	for name, n := range map[string]*node{"plaintext": start(t), "TLS": start(t, secure)} {
		var cfg *tls.Config
		if name == "TLS" {
			cfg = clientTLS()
		}
		var last atomic.Pointer[port.Use]
		n.echo.seen = func(ctx context.Context) { last.Store(n.UseOf(ctx)) }
		other, c := dial(t, n.addr, cfg), dial(t, n.addr, cfg)
		call(t, other, "zero")
		call(t, c, "one")
		u := last.Load()
		if u.Closed() || !u.Close() || u.Close() || !u.Closed() {
			t.Errorf("%s: it is not closed once", name)
		}
		eventually(t, func() bool { return n.Conns().Open == 1 })
		call(t, other, "zero again")
		if last.Load() == u {
			t.Errorf("%s: the wrong connection", name)
		}
		eventually(t, func() bool { // a call may still have begun on the old connection
			_, err := c.UnaryCall(timeout(t), request("two"))
			return err == nil
		})
	}
	if u := (&port.Use{}); u.Close() || u.Closed() || u.Peer() != "" {
		t.Error("the use of no connection was closed")
	}
}
