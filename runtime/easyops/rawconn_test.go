package easyops

import (
	"bytes"
	"crypto/tls"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

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
	return newRawConn(r.t, nc)
}

// newRawConn exchanges SETTINGS.
func newRawConn(t testing.TB, nc net.Conn) *rawConn {
	t.Helper()
	c := &rawConn{t: t, Conn: nc, Framer: http2.NewFramer(nc, nc), ended: map[uint32]*status.Status{}}
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.enc = hpack.NewEncoder(&c.hpack)
	_, err := io.WriteString(nc, http2.ClientPreface)
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
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":path", Value: path},
		{Name: ":authority", Value: "server.test"},
		{Name: "te", Value: "trailers"},
		{Name: "content-type", Value: "application/grpc"},
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
