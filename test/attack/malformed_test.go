package attack

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/go-easyops/easyops/test/serve"
)

// side is a way to a stack behind the port.
type side struct {
	name string
	http bool                               // it ends in net/http
	tls  []string                           // what the client offers, nil for plaintext
	warm func(fr *http2.Framer) (id uint32) // begins the connection; the stream that is next
}

func cold(*http2.Framer) uint32 { return 1 }

// warmGRPC makes the connection one of grpc-go's.
func warmGRPC(fr *http2.Framer) uint32 {
	at("/x.Y/Z")(fr, 1)
	return 3
}

// warmHTTP makes the connection one of net/http's.
func warmHTTP(fr *http2.Framer) uint32 {
	_ = fr.WriteHeaders(http2.HeadersFrameParam{
		StreamID: 1, EndHeaders: true, EndStream: true,
		BlockFragment: block(":method", "GET", ":scheme", "http", ":path", "/livez", ":authority", "localhost"),
	})
	return 3
}

var sides = []side{
	{name: "first request", warm: cold},
	{name: "grpc-go", warm: warmGRPC},
	{name: "net/http", http: true, warm: warmHTTP},
	{name: "TLS, first request", tls: []string{"h2"}, warm: cold},
	{name: "TLS, grpc-go", tls: []string{"h2"}, warm: warmGRPC},
	{name: "TLS, net/http", http: true, tls: []string{"h2", "http/1.1"}, warm: cold},
}

// TestMalformed sends each shape to each side. What must be refused reaches no
// handler, whatever comes is answered or cut off in bounded time, and a proper
// call works afterwards.
func TestMalformed(t *testing.T) {
	t.Parallel()
	plaintext := start(t, serve.Build(t, program))
	overTLS := startTLS(t, serve.Build(t, program), "h2")
	shapes, answers := all(), map[string]int{}
	before := plaintext.reached(t).Goroutines
	for _, side := range sides {
		x := plaintext
		if side.tls != nil {
			on := *overTLS
			x = &on
			x.tls = x.tls.Clone()
			x.tls.NextProtos = side.tls
		}
		good := x.client(t)
		for _, s := range shapes {
			t.Run(side.name+"/"+s.name, func(t *testing.T) {
				answers[s.send(t, x, side, good)]++
			})
		}
		good.close()
	}
	t.Logf("%d shapes over HTTP/2 on %d sides: %v", len(shapes), len(sides), answers)
	if full {
		plaintext.settles(t, before)
	}
}

// settles waits until no more goroutines are left than there were.
func (x *target) settles(t *testing.T, before int64) {
	t.Helper()
	var n int64
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if n = x.reached(t).Goroutines; n <= before+10 {
			t.Logf("goroutines: %d before, %d after", before, n)
			return
		}
	}
	t.Errorf("%d goroutines before, %d after", before, n)
}

// send sends the shape and returns in a word what became of it.
func (s shape) send(t *testing.T, x *target, on side, good client) string {
	before := x.reached(t)
	c := x.dial(t)
	defer c.Close()
	var b bytes.Buffer
	fr := http2.NewFramer(&b, nil)
	fr.AllowIllegalWrites = true
	b.WriteString(http2.ClientPreface)
	_ = fr.WriteSettings()
	id := on.warm(fr)
	s.make(fr, id)
	if s.after {
		id += 2
		call(proper())(fr, id)
	}
	go func() { _, _ = b.WriteTo(c) }()
	answer, err := answerOf(c, id)
	if err != nil {
		t.Error(err)
	}
	if err := good.echo("good"); err != nil {
		t.Errorf("a good call after it: %v", err)
	}
	after := x.reached(t)
	if n := after.Total - before.Total - 1 + after.Pages - before.Pages; n != 0 && !s.may && !(s.http && on.http) {
		t.Errorf("%d handlers were reached; the answer was %s", n, answer)
	}
	word, _, _ := strings.Cut(answer, " ")
	return word
}

// answerOf reads until the stream or the connection ends.
func answerOf(c net.Conn, id uint32) (string, error) {
	_ = c.SetReadDeadline(time.Now().Add(soon))
	fr := http2.NewFramer(nil, c)
	for {
		f, err := fr.ReadFrame()
		switch {
		case isTimeout(err):
			return "nothing", fmt.Errorf("no answer within %v", soon)
		case err != nil:
			return "closed", nil
		}
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			return "GOAWAY " + f.ErrCode.String(), nil
		case *http2.RSTStreamFrame:
			if f.StreamID >= id {
				return "RST_STREAM " + f.ErrCode.String(), nil
			}
		case *http2.HeadersFrame:
			if f.StreamID >= id && f.StreamEnded() {
				return "answered", nil
			}
		case *http2.DataFrame:
			if f.StreamID >= id && f.StreamEnded() {
				return "answered", nil
			}
		}
	}
}

// beginnings are how no connection begins. The second half of each shape is a
// proper request, which must not be served.
var beginnings = []struct{ name, sent string }{
	{"preface with another end", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"},
	{"preface of HTTP/2.1", "PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n"},
	{"preface twice", http2.ClientPreface + emptySettings + http2.ClientPreface},
	{"preface in lower case", strings.ToLower(http2.ClientPreface)},
	{"preface after a line", "\r\n" + http2.ClientPreface},
	{"preface, then no SETTINGS", http2.ClientPreface + "\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678"},
	{"preface, then SETTINGS that acknowledge", http2.ClientPreface + "\x00\x00\x00\x04\x01\x00\x00\x00\x00"},
	{"preface, then HTTP/1", http2.ClientPreface + "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"},
	{"zeros", strings.Repeat("\x00", 64)},
	{"SSH", "SSH-2.0-OpenSSH_9.9\r\n"},
	{"TLS hello", "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"},
	{"PROXY protocol", "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n"},
	{"HTTP/0.9", "GET /\r\n\r\n"},
	{"HTTP/2.0 in a line", "GET / HTTP/2.0\r\nHost: localhost\r\n\r\n"},
	{"HTTP/3.0 in a line", "GET / HTTP/3.0\r\nHost: localhost\r\n\r\n"},
}

const (
	host = "Host: localhost\r\n"
	next = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
)

// http1 are requests of HTTP/1. Those that must be refused reach no page.
var http1 = []struct {
	name, sent string
	most       int64 // pages that may be reached
}{
	{"Transfer-Encoding and Content-Length", "POST / HTTP/1.1\r\n" + host + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 1},
	{"two Content-Lengths that differ", "POST / HTTP/1.1\r\n" + host + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd" + next, 0},
	{"two Content-Lengths in one", "POST / HTTP/1.1\r\n" + host + "Content-Length: 4, 4\r\n\r\nabcd" + next, 0},
	{"Content-Length +4", "POST / HTTP/1.1\r\n" + host + "Content-Length: +4\r\n\r\nabcd" + next, 0},
	{"Content-Length -4", "POST / HTTP/1.1\r\n" + host + "Content-Length: -4\r\n\r\nabcd" + next, 0},
	{"Content-Length 0x4", "POST / HTTP/1.1\r\n" + host + "Content-Length: 0x4\r\n\r\nabcd" + next, 0},
	{"Content-Length beyond 64 bits", "POST / HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999\r\n\r\nabcd" + next, 0},
	{"Transfer-Encoding twice", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + next, 0},
	{"Transfer-Encoding xchunked", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + next, 0},
	{"Transfer-Encoding chunked, identity", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + next, 0},
	{"space before the colon", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + next, 0},
	{"chunk of a wrong size", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nzz\r\na\r\n0\r\n\r\n" + next, 1},
	{"chunk of 16 EiB", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\na\r\n0\r\n\r\n" + next, 1},
	{"no Host", "GET / HTTP/1.1\r\n\r\n", 0},
	{"two Hosts", "GET / HTTP/1.1\r\n" + host + "Host: evil.example\r\n\r\n", 0},
	{"Host with a space", "GET / HTTP/1.1\r\nHost: local host\r\n\r\n", 0},
	{"name with a space", "GET / HTTP/1.1\r\n" + host + "X A: b\r\n\r\n", 0},
	{"value with NUL", "GET / HTTP/1.1\r\n" + host + "X-A: b\x00c\r\n\r\n", 0},
	{"value with CR", "GET / HTTP/1.1\r\n" + host + "X-A: b\rc\r\n\r\n", 0},
	{"no colon", "GET / HTTP/1.1\r\n" + host + "X-A\r\n\r\n", 0},
	{"headers of 70,000 bytes", "GET / HTTP/1.1\r\n" + host + "X-A: " + strings.Repeat("a", 70_000) + "\r\n\r\n", 0},
	{"5,000 headers", "GET / HTTP/1.1\r\n" + host + strings.Repeat("X-A: bcdef\r\n", 5000) + "\r\n", 0},
	{"request line of 70,000 bytes", "GET /" + strings.Repeat("a", 70_000) + " HTTP/1.1\r\n" + host + "\r\n", 0},
	{"method with a NUL", "G\x00T / HTTP/1.1\r\n" + host + "\r\n", 0},
	{"path with a space", "GET /a b HTTP/1.1\r\n" + host + "\r\n", 0},
	{"path without slash", "GET echo.v1.EchoService/Echo HTTP/1.1\r\n" + host + "\r\n", 0},
	{"path with a bad percent", "GET /%zz HTTP/1.1\r\n" + host + "\r\n", 0},
	{"CONNECT", "CONNECT localhost:80 HTTP/1.1\r\n" + host + "\r\n", 1},
	{"h2c upgrade", "GET / HTTP/1.1\r\n" + host + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", 1},
	{"GET, then HTTP/2", "GET / HTTP/1.1\r\n" + host + "\r\n" + http2.ClientPreface + emptySettings, 1},
	{"gRPC", "POST " + echoPath + " HTTP/1.1\r\n" + host + "Content-Type: application/grpc\r\nContent-Length: 10\r\n\r\n\x00\x00\x00\x00\x05\x0a\x03odd", 1},
	{"absolute-form of another host", "POST http://evil.example/internal/pleaseshutdown HTTP/1.1\r\n" + host + "\r\n", 0},
	{"pleaseshutdown by GET", "GET /internal/pleaseshutdown HTTP/1.1\r\n" + host + "\r\n", 0},
	{"pleaseshutdown through a proxy", "POST /internal/pleaseshutdown HTTP/1.1\r\n" + host + "X-Forwarded-For: 127.0.0.1\r\nContent-Length: 0\r\n\r\n", 0},
	{"pleaseshutdown of another host", "POST /internal/pleaseshutdown HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n", 0},
	{"pleaseshutdown of another origin", "POST /internal/pleaseshutdown HTTP/1.1\r\n" + host + "Origin: http://evil.example\r\nContent-Length: 0\r\n\r\n", 0},
}

// TestMalformedBeginnings sends what is no request of HTTP/2, in plaintext and
// over TLS. No handler of gRPC is reached, and of pages no more than may be.
func TestMalformedBeginnings(t *testing.T) {
	t.Parallel()
	plaintext := start(t, serve.Build(t, program))
	overTLS := startTLS(t, serve.Build(t, program), "http/1.1")
	good := map[*target]client{plaintext: plaintext.client(t)}
	onTLS := *overTLS
	onTLS.tls = overTLS.tls.Clone()
	onTLS.tls.NextProtos = []string{"h2"}
	good[overTLS] = onTLS.client(t)
	calling := string(encode(1, func(fr *http2.Framer, _ int) error { call(proper())(fr, 1); return nil }))
	for x, c := range good {
		for _, b := range beginnings {
			t.Run(x.name+"/"+b.name, func(t *testing.T) { begin(t, x, c, b.sent+calling, 0) })
		}
		for _, r := range http1 {
			t.Run(x.name+"/"+r.name, func(t *testing.T) { begin(t, x, c, r.sent, r.most) })
		}
		c.close()
	}
}

// begin sends something as the beginning of a connection, and no more.
func begin(t *testing.T, x *target, good client, sent string, most int64) {
	before := x.reached(t)
	c := x.dial(t)
	defer c.Close()
	go func() {
		_, _ = io.WriteString(c, sent)
		if w, ok := c.(interface{ CloseWrite() error }); ok {
			_ = w.CloseWrite()
		}
	}()
	if _, err := ended(c, soon); err != nil {
		t.Errorf("after all was sent: %v", err)
	}
	if err := good.echo("good"); err != nil {
		t.Errorf("a good call after it: %v", err)
	}
	after := x.reached(t)
	if n := after.Total - before.Total - 1; n != 0 {
		t.Errorf("%d handlers of gRPC were reached", n)
	}
	if n := after.Pages - before.Pages; n > most {
		t.Errorf("%d pages were reached, want at most %d", n, most)
	}
}

// TestMalformedControl shows that a proper request in the same frames reaches
// the handler, on each side.
func TestMalformedControl(t *testing.T) {
	t.Parallel()
	x := start(t, serve.Build(t, program))
	good := x.client(t)
	defer good.close()
	for _, side := range sides[:3] {
		before := x.reached(t).Total
		answer := shape{make: call(proper()), may: true}.send(t, x, side, good)
		if n := x.reached(t).Total - before; n != 2 || answer != "answered" {
			t.Errorf("%s: %d calls reached the handler, want 2; %s", side.name, n, answer)
		}
	}
}
