package attack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	echoPath   = "/echo.v1.EchoService/Echo"
	chatPath   = "/echo.v1.EchoService/Chat"
	healthPath = "/grpc.health.v1.Health/Check"
	watchPath  = "/grpc.health.v1.Health/Watch"
)

// h2 is an HTTP/2 client that keeps to no rule it is not made to.
type h2 struct {
	net.Conn
	next uint32 // stream
	in   *http2.Framer
	dec  *hpack.Decoder

	mu     sync.Mutex // of writes
	seen   sync.Map   // what the server said: string -> struct{}
	gone   chan struct{}
	window func(http2.Frame) // looks at frames, where it is set before read
}

// h2 opens a connection and sends the preface, with SETTINGS.
func (x *target) h2(t *testing.T) *h2 {
	t.Helper()
	h := newH2(x.dial(t))
	if _, err := io.WriteString(h.Conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	h.send(func(fr *http2.Framer) error { return fr.WriteSettings() })
	return h
}

func newH2(c net.Conn) *h2 {
	return &h2{Conn: c, in: http2.NewFramer(nil, c), next: 1, dec: hpack.NewDecoder(4096, nil), gone: make(chan struct{})}
}

// block encodes a header block of names and values.
func block(kv ...string) []byte {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for i := 0; i+1 < len(kv); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: kv[i], Value: kv[i+1]})
	}
	return b.Bytes()
}

// request is the header list of a proper call.
func request(path string, more ...string) []string {
	return append([]string{
		":method", "POST", ":scheme", "http", ":path", path, ":authority", "localhost",
		"content-type", "application/grpc", "te", "trailers",
	}, more...)
}

// open begins a call.
func (h *h2) open(path string, more ...string) (id uint32) {
	id = h.next
	h.next += 2
	h.send(headers(id, true, request(path, more...)...))
	return id
}

// headers makes a HEADERS frame of names and values.
func headers(id uint32, whole bool, kv ...string) func(*http2.Framer) error {
	return func(fr *http2.Framer) error {
		return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block(kv...), EndHeaders: whole})
	}
}

// data makes a DATA frame.
func data(id uint32, last bool, b []byte) func(*http2.Framer) error {
	return func(fr *http2.Framer) error { return fr.WriteData(id, last, b) }
}

// send writes a frame, and tells whether it could.
func (h *h2) send(frame func(*http2.Framer) error) bool {
	return h.flood(1, func(fr *http2.Framer, _ int) error { return frame(fr) }) == 1
}

// message is an EchoRequest as gRPC sends it.
func message(text string) []byte {
	body := append([]byte{0x0a}, binary.AppendUvarint(nil, uint64(len(text)))...)
	body = append(body, text...)
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))), body...)
}

// read reads what the server says until the connection ends. It acknowledges
// no SETTINGS: the frame could fall into a header block.
func (h *h2) read() {
	defer close(h.gone)
	for {
		f, err := h.in.ReadFrame()
		if err != nil {
			h.seen.Store("connection ended", struct{}{})
			return
		}
		if h.window != nil {
			h.window(f)
		}
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			h.seen.Store(strings.TrimSpace("GOAWAY "+f.ErrCode.String()+" "+string(f.DebugData())), struct{}{})
		case *http2.PingFrame:
			if f.IsAck() && f.Data == last {
				h.seen.Store("last PING", struct{}{})
			}
		case *http2.RSTStreamFrame:
			h.seen.Store("RST_STREAM "+f.ErrCode.String(), struct{}{})
		case *http2.HeadersFrame:
			h.headers(f)
		}
	}
}

// headers notes the status of an answer.
func (h *h2) headers(f *http2.HeadersFrame) {
	h.dec.SetEmitFunc(func(hf hpack.HeaderField) {
		if hf.Name == ":status" || hf.Name == "grpc-status" {
			h.seen.Store(hf.Name+" "+hf.Value, struct{}{})
		}
	})
	_, _ = h.dec.Write(f.HeaderBlockFragment())
	_ = h.dec.Close()
}

// said is what the server said, in a line.
func (h *h2) said() string {
	var all []string
	h.seen.Range(func(k, _ any) bool { all = append(all, k.(string)); return true })
	if len(all) == 0 {
		return "no answer"
	}
	return strings.Join(all, ", ")
}

// last is the PING that asks whether all before it was read.
var last = [8]byte{'l', 'a', 's', 't'}

// settle waits until the server has read all that was sent or ends the
// connection, and gives it time to act upon it.
func (h *h2) settle() {
	h.send(func(fr *http2.Framer) error { return fr.WritePing(false, last) })
	h.await("last PING", "GOAWAY")
	select {
	case <-h.gone:
	case <-time.After(settling):
	}
}

// await waits until the server has said one of some things, or is gone.
func (h *h2) await(words ...string) {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		said := h.said()
		if slices.ContainsFunc(words, func(w string) bool { return strings.Contains(said, w) }) {
			return
		}
		select {
		case <-h.gone:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// flood writes what frame makes, n times, in large writes.
func (h *h2) flood(n int, frame func(fr *http2.Framer, i int) error) (sent int) {
	var b bytes.Buffer
	fr := http2.NewFramer(&b, nil)
	fr.AllowIllegalWrites = true
	for i := range n {
		if err := frame(fr, i); err != nil {
			return i
		}
		if b.Len() < 1<<15 && i < n-1 {
			continue
		}
		h.mu.Lock()
		_, err := b.WriteTo(h.Conn)
		h.mu.Unlock()
		if err != nil {
			return i
		}
	}
	return n
}

// ended reads until the server has closed the connection and returns how it
// did, or that it did not.
func ended(c net.Conn, within time.Duration) (answer []byte, err error) {
	_ = c.SetReadDeadline(time.Now().Add(within))
	answer, err = io.ReadAll(c)
	if isTimeout(err) {
		return answer, fmt.Errorf("open after %v", within)
	}
	return answer, nil // a reset is an end too
}

// encode makes frames.
func encode(n int, frame func(fr *http2.Framer, i int) error) []byte {
	var b bytes.Buffer
	fr := http2.NewFramer(&b, nil)
	fr.AllowIllegalWrites = true
	for i := range n {
		_ = frame(fr, i) // a buffer takes all
	}
	return b.Bytes()
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
