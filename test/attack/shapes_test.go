package attack

import (
	"bytes"
	"strings"

	"golang.org/x/net/http2"
)

// shape is a request that nobody should send. It is made for the stream that
// is next on its connection.
type shape struct {
	name  string
	make  func(fr *http2.Framer, id uint32)
	may   bool // reach a handler: the request is odd, but allowed
	http  bool // may by net/http, which is less strict; identity is decided by the method that is reached
	after bool // it is not a whole request, and a proper one comes after it
}

// list is a header list that can be changed.
type list []string

func proper() list { return request(echoPath) }

func (l list) without(name string) list {
	var out list
	for i := 0; i < len(l); i += 2 {
		if l[i] != name {
			out = append(out, l[i], l[i+1])
		}
	}
	return out
}

func (l list) with(kv ...string) list { return append(append(list{}, l...), kv...) }

// first puts names and values before the others.
func (l list) first(kv ...string) list { return append(append(list{}, kv...), l...) }

func (l list) set(name, value string) list {
	out := append(list{}, l...)
	for i := 0; i < len(out); i += 2 {
		if out[i] == name {
			out[i+1] = value
		}
	}
	return out
}

// call makes a whole request of a header list.
func call(l list) func(*http2.Framer, uint32) { return body(l, message("odd")) }

func body(l list, b []byte) func(*http2.Framer, uint32) {
	return func(fr *http2.Framer, id uint32) {
		writeBlock(fr, id, block(l...))
		_ = fr.WriteData(id, true, b)
	}
}

// writeBlock writes a header block in as many frames as it takes.
func writeBlock(fr *http2.Framer, id uint32, b []byte) {
	n := min(len(b), 16<<10)
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: b[:n], EndHeaders: n == len(b)})
	for b = b[n:]; len(b) > 0; b = b[n:] {
		n = min(len(b), 16<<10)
		_ = fr.WriteContinuation(id, n == len(b), b[:n])
	}
}

// at makes a call of a path.
func at(path string) func(*http2.Framer, uint32) { return call(proper().set(":path", path)) }

// raw makes a frame of any kind. A negative offset stands for the connection.
func raw(kind http2.FrameType, flags http2.Flags, offset int, payload string) func(*http2.Framer, uint32) {
	return func(fr *http2.Framer, id uint32) {
		stream := uint32(0)
		if offset >= 0 {
			stream = id + uint32(offset)
		}
		_ = fr.WriteRawFrame(kind, flags, stream, []byte(payload))
	}
}

const (
	conn   = -1
	endAll = http2.FlagHeadersEndHeaders | http2.FlagHeadersEndStream
)

// all are the shapes that are sent over HTTP/2.
func all() (s []shape) {
	s = append(s, pseudo...)
	s = append(s, paths()...)
	s = append(s, fields()...)
	s = append(s, bodies()...)
	s = append(s, streams...)
	return append(s, frames...)
}

var pseudo = []shape{
	{name: "no :method", make: call(proper().without(":method"))},
	{name: "no :path", make: call(proper().without(":path"))},
	{name: "no :scheme", make: call(proper().without(":scheme")), may: true},
	{name: "no :authority and no host", make: call(proper().without(":authority")), may: true},
	{name: "host in place of :authority", make: call(proper().without(":authority").with("host", "localhost")), may: true},
	{name: "host and another :authority", make: call(proper().with("host", "evil.example")), may: true},
	{name: "two :method", make: call(proper().first(":method", "POST"))},
	{name: "two :path", make: call(proper().first(":path", "/x.Y/Z"))},
	{name: "two :path, the other way round", make: call(append(list{":path", echoPath}, proper().set(":path", "/x.Y/Z")...))},
	{name: "two :scheme", make: call(proper().first(":scheme", "https"))},
	{name: "two :authority", make: call(proper().first(":authority", "evil.example"))},
	{name: "two host", make: call(proper().with("host", "a", "host", "b")), http: true},
	{name: ":path after a field", make: call(proper().without(":path").with(":path", echoPath))},
	{name: "unknown pseudo-header", make: call(proper().first(":foo", "bar"))},
	{name: ":status in a request", make: call(proper().first(":status", "200"))},
	{name: ":protocol", make: call(proper().first(":protocol", "websocket")), may: true},
	{name: "GET", make: call(proper().set(":method", "GET")), http: true},
	{name: "PUT", make: call(proper().set(":method", "PUT")), http: true},
	{name: "CONNECT", make: call(proper().set(":method", "CONNECT"))},
	{name: "post", make: call(proper().set(":method", "post")), http: true},
	{name: "PRI", make: call(proper().set(":method", "PRI")), http: true},
	{name: "empty :method", make: call(proper().set(":method", ""))},
	{name: ":method with CRLF", make: call(proper().set(":method", "POST / HTTP/1.1\r\nHost: x\r\n\r\n"))},
	{name: ":authority with CRLF", make: call(proper().set(":authority", "a\r\nx: y"))},
	{name: ":authority with a user", make: call(proper().set(":authority", "root@localhost")), may: true},
}

// paths that are none of a method, however close.
func paths() (s []shape) {
	for name, path := range map[string]string{
		"no slash first":   echoPath[1:],
		"empty":            "",
		"asterisk":         "*",
		"slash":            "/",
		"one part":         "/echo.v1.EchoService",
		"two slashes":      "/" + echoPath,
		"slashes between":  "/echo.v1.EchoService//Echo",
		"slash last":       echoPath + "/",
		"percent encoded":  "/echo.v1.EchoService/%45cho",
		"encoded slash":    "/echo.v1.EchoService%2FEcho",
		"absolute":         "http://localhost" + echoPath,
		"query":            echoPath + "?x=y",
		"fragment":         echoPath + "#x",
		"dots":             "/x/.." + echoPath,
		"backslash":        "\\echo.v1.EchoService\\Echo",
		"NUL":              echoPath + "\x00",
		"space":            echoPath + " HTTP/1.1",
		"CRLF":             echoPath + "\r\nx: y",
		"other case":       "/ECHO.V1.EchoService/echo",
		"parameters":       echoPath + ";x",
		"bidi":             echoPath + "\u202e",
		"60,000 bytes":     "/" + strings.Repeat("a", 60_000) + "/b",
		"unknown service":  "/x.Y/Echo",
		"unknown method":   "/echo.v1.EchoService/Nothing",
		"prefix":           "/v1" + echoPath,
		"status page":      "/internal/pleaseshutdown",
		"no method":        "/echo.v1.EchoService/",
		"no service":       "//Echo",
		"invalid UTF-8":    "/echo.v1.EchoService/\xff\xfe",
		"encoded NUL":      echoPath + "%00",
		"encoded dot dots": "/%2e%2e" + echoPath,
	} {
		s = append(s, shape{name: "path: " + name, make: at(path)})
	}
	return s
}

func fields() []shape {
	long := strings.Repeat(".", 60_000)
	return []shape{
		{name: "two authorization", make: call(proper().with("authorization", "Bearer a", "authorization", "Bearer b")), may: true}, // this version verifies none
		{name: "authorization of 60,000 dots", make: call(proper().with("authorization", "Bearer "+long)), may: true},
		{name: "authorization with CRLF", make: call(proper().with("authorization", "Bearer a\r\nx-user: root"))},
		{name: "fields of 70,000 bytes", make: call(proper().with("x-a", long, "x-b", long[:10_000]))},
		{name: "3,000 fields", make: call(proper().with(strings.Split(strings.Repeat("x-a,b,", 3000)[:3000*6-1], ",")...))},
		{name: "value with CRLF", make: call(proper().with("x-a", "b\r\nx-user: root"))},
		{name: "value with LF", make: call(proper().with("x-a", "b\nc"))},
		{name: "value with NUL", make: call(proper().with("x-a", "b\x00c"))},
		{name: "upper case name", make: call(proper().with("X-Upper", "a"))},
		{name: "name with a space", make: call(proper().with("x a", "b"))},
		{name: "name with a colon", make: call(proper().with("x:a", "b"))},
		{name: "name with CRLF", make: call(proper().with("x\r\na", "b"))},
		{name: "empty name", make: call(proper().with("", "b"))},
		{name: "connection", make: call(proper().with("connection", "close"))},
		{name: "transfer-encoding", make: call(proper().with("transfer-encoding", "chunked")), may: true},
		{name: "te: gzip", make: call(proper().set("te", "gzip")), may: true},
		{name: "upgrade", make: call(proper().with("upgrade", "h2c")), may: true},
		{name: "no content-type", make: call(proper().without("content-type")), may: true}, // a page
		{name: "content-type of gRPC-Web", make: call(proper().set("content-type", "application/grpc-web")), may: true},
		{name: "content-type text/plain", make: call(proper().set("content-type", "text/plain")), may: true},
		{name: "content-type application/grpcx", make: call(proper().set("content-type", "application/grpcx")), may: true},
		{name: "content-type with an unknown codec", make: call(proper().set("content-type", "application/grpc+xyz")), may: true},
		{name: "two content-types", make: call(proper().with("content-type", "text/plain")), may: true},
		{name: "two content-types, the other way round", make: call(proper().without("content-type").with("content-type", "text/plain", "content-type", "application/grpc")), may: true},
		{name: "grpc-timeout 1x", make: call(proper().with("grpc-timeout", "1x"))},
		{name: "grpc-timeout -1S", make: call(proper().with("grpc-timeout", "-1S"))},
		{name: "grpc-timeout empty", make: call(proper().with("grpc-timeout", "")), http: true},
		{name: "grpc-timeout of ten digits", make: call(proper().with("grpc-timeout", "9999999999H"))},
		{name: "two grpc-timeout", make: call(proper().with("grpc-timeout", "1S", "grpc-timeout", "2S")), may: true},
		{name: "grpc-encoding unknown", make: body(proper().with("grpc-encoding", "xyz"), append([]byte{1}, message("odd")[1:]...))},
		{name: "binary field that is none", make: call(proper().with("x-bin", "!!!"))},
		{name: "content-length too small", make: call(proper().with("content-length", "1")), may: true},
		{name: "content-length too large", make: call(proper().with("content-length", "1000")), may: true},
		{name: "two content-length", make: call(proper().with("content-length", "10", "content-length", "11")), may: true},
		{name: "content-length of letters", make: call(proper().with("content-length", "ten")), may: true},
	}
}

func bodies() []shape {
	m := message("odd")
	return []shape{
		{name: "no message", make: func(fr *http2.Framer, id uint32) {
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block(proper()...), EndHeaders: true, EndStream: true})
		}},
		{name: "half message", make: body(proper(), m[:len(m)-1])},
		{name: "half prefix", make: body(proper(), m[:3])},
		{name: "two messages", make: body(proper(), append(m[:len(m):len(m)], m...)), may: true},
		{name: "message of 4 GiB", make: body(proper(), []byte("\x00\xff\xff\xff\xffabc"))},
		{name: "unknown flag", make: body(proper(), append([]byte{7}, m[1:]...))},
		{name: "compressed without encoding", make: body(proper(), append([]byte{1}, m[1:]...))},
		{name: "gzip that is none", make: body(proper().with("grpc-encoding", "gzip"), append([]byte{1}, m[1:]...))},
		{name: "not a message of protobuf", make: body(proper(), []byte("\x00\x00\x00\x00\x03\xff\xff\xff"))},
		{name: "string longer than its message", make: body(proper(), []byte("\x00\x00\x00\x00\x03\x0a\x7fa"))},
		{name: "invalid UTF-8", make: body(proper(), []byte("\x00\x00\x00\x00\x03\x0a\x01\xff"))},
		{name: "HTTP/1 within", make: body(proper(), []byte("GET /internal/help HTTP/1.1\r\nHost: localhost\r\n\r\n"))},
	}
}

var streams = []shape{
	{name: "even stream", make: func(fr *http2.Framer, id uint32) { call(proper())(fr, id+1) }},
	{name: "stream 0", make: func(fr *http2.Framer, _ uint32) { call(proper())(fr, 0) }},
	{name: "stream lower than the last", make: func(fr *http2.Framer, id uint32) {
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id + 4, BlockFragment: block(proper().set(":path", "/x.Y/Z")...), EndHeaders: true, EndStream: true})
		call(proper())(fr, id)
	}},
	{name: "the last stream there is", make: func(fr *http2.Framer, _ uint32) { call(proper())(fr, 1<<31-1) }, may: true},
	{name: "stream used again", make: func(fr *http2.Framer, id uint32) {
		at("/x.Y/Z")(fr, id)
		call(proper())(fr, id)
	}},
	{name: "HEADERS twice", make: func(fr *http2.Framer, id uint32) {
		writeBlock(fr, id, block(proper()...))
		call(proper())(fr, id)
	}, may: true}, // the first are proper
	{name: "pseudo-header in trailers", make: func(fr *http2.Framer, id uint32) {
		writeBlock(fr, id, block(proper()...))
		_ = fr.WriteData(id, false, message("odd")[:5])
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block(":path", "/x"), EndHeaders: true, EndStream: true})
	}},
	{name: "DATA after the end", make: func(fr *http2.Framer, id uint32) {
		at("/x.Y/Z")(fr, id)
		_ = fr.WriteData(id, true, message("odd"))
	}},
}

var frames = []shape{
	{name: "DATA on an idle stream", after: true, may: true, make: raw(http2.FrameData, 0, 100, "abc")},
	{name: "DATA on the connection", after: true, make: raw(http2.FrameData, 0, conn, "abc")},
	{name: "HEADERS, padding too long", make: raw(http2.FrameHeaders, endAll|http2.FlagHeadersPadded, 0, "\xff\x83")},
	{name: "HEADERS, half priority", make: raw(http2.FrameHeaders, endAll|http2.FlagHeadersPriority, 0, "\x00\x00")},
	{name: "CONTINUATION of nothing", after: true, make: raw(http2.FrameContinuation, 0, 0, "\x83")},
	{name: "CONTINUATION of another stream", make: func(fr *http2.Framer, id uint32) {
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block(proper()...)})
		_ = fr.WriteContinuation(id+2, true, nil)
	}},
	{name: "PING within a header block", make: func(fr *http2.Framer, id uint32) {
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block(proper()...)})
		_ = fr.WritePing(false, [8]byte{})
	}},
	{name: "PUSH_PROMISE", after: true, may: true, make: raw(http2.FramePushPromise, 4, 0, "\x00\x00\x00\x02\x83")},
	{name: "SETTINGS of 5 bytes", after: true, make: raw(http2.FrameSettings, 0, conn, "abcde")},
	{name: "SETTINGS of a stream", after: true, make: raw(http2.FrameSettings, 0, 0, "")},
	{name: "SETTINGS, acknowledged with a payload", after: true, make: raw(http2.FrameSettings, 1, conn, "\x00\x04\x00\x00\xff\xff")},
	{name: "SETTINGS, window of 2 GiB", after: true, make: raw(http2.FrameSettings, 0, conn, "\x00\x04\xff\xff\xff\xff")},
	{name: "SETTINGS, frames of 1 byte", after: true, may: true, make: raw(http2.FrameSettings, 0, conn, "\x00\x05\x00\x00\x00\x01")},
	{name: "SETTINGS, ENABLE_PUSH 2", after: true, may: true, make: raw(http2.FrameSettings, 0, conn, "\x00\x02\x00\x00\x00\x02")},
	{name: "WINDOW_UPDATE of 0", after: true, may: true, make: raw(http2.FrameWindowUpdate, 0, conn, "\x00\x00\x00\x00")},
	{name: "WINDOW_UPDATE of 3 bytes", after: true, make: raw(http2.FrameWindowUpdate, 0, conn, "\x00\x00\x01")},
	{name: "WINDOW_UPDATE beyond 2 GiB", after: true, may: true, make: func(fr *http2.Framer, _ uint32) {
		_ = fr.WriteWindowUpdate(0, 1<<31-1)
		_ = fr.WriteWindowUpdate(0, 1<<31-1)
	}},
	{name: "PING of 7 bytes", after: true, make: raw(http2.FramePing, 0, conn, "1234567")},
	{name: "PING of a stream", after: true, make: raw(http2.FramePing, 0, 0, "12345678")},
	{name: "RST_STREAM of 3 bytes", after: true, make: raw(http2.FrameRSTStream, 0, 0, "abc")},
	{name: "RST_STREAM of the connection", after: true, make: raw(http2.FrameRSTStream, 0, conn, "\x00\x00\x00\x08")},
	{name: "RST_STREAM of an idle stream", after: true, may: true, make: raw(http2.FrameRSTStream, 0, 100, "\x00\x00\x00\x08")},
	{name: "GOAWAY of 3 bytes", after: true, make: raw(http2.FrameGoAway, 0, conn, "abc")},
	{name: "frame of 16,385 bytes", after: true, http: true, make: raw(0x77, 0, conn, strings.Repeat("a", 16385))},
	{name: "frame of an unknown kind", after: true, may: true, make: raw(0x77, 0xff, conn, "hello")},
	{name: "PRIORITY on itself", after: true, may: true, make: func(fr *http2.Framer, id uint32) {
		_ = fr.WritePriority(id, http2.PriorityParam{StreamDep: id})
	}},
	{name: "HPACK, index 0", make: raw(http2.FrameHeaders, endAll, 0, "\x80")},
	{name: "HPACK, unknown index", make: raw(http2.FrameHeaders, endAll, 0, "\xff\xff\x03")},
	{name: "HPACK, cut short", make: raw(http2.FrameHeaders, endAll, 0, "\x40\x05ab")},
	{name: "HPACK, endless integer", make: raw(http2.FrameHeaders, endAll, 0, string(bytes.Repeat([]byte{0xff}, 20)))},
	{name: "HPACK, table of 4 GiB", make: raw(http2.FrameHeaders, endAll, 0, "\x3f\xe1\xff\xff\xff\x0f")},
	{name: "HPACK, bad Huffman code", make: raw(http2.FrameHeaders, endAll, 0, "\x40\x84\xff\xff\xff\xff\x00")},
}
