package edgeattack

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

func (f *front) scheme() string {
	if f.tls != nil {
		return "https"
	}
	return "http"
}

// block encodes a header block of names and values, whatever they are.
func block(kv ...string) []byte {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for i := 0; i+1 < len(kv); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: kv[i], Value: kv[i+1]}) // a buffer takes all
	}
	return b.Bytes()
}

// h2 sends a request over HTTP/2 on a connection of its own, and returns the status
// or how it ended. A body that is nil is none at all.
func (f *front) h2(t *testing.T, body []byte, kv ...string) string {
	t.Helper()
	return f.h2Frames(t, func(fr *http2.Framer) {
		writeBlock(fr, body == nil, block(kv...))
		if body != nil {
			_ = fr.WriteData(1, true, body)
		}
	})
}

// writeBlock writes a header block in as many frames as it takes.
func writeBlock(fr *http2.Framer, last bool, b []byte) {
	n := min(len(b), 16<<10)
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:n], EndHeaders: n == len(b), EndStream: last})
	for b = b[n:]; len(b) > 0; b = b[n:] {
		n = min(len(b), 16<<10)
		_ = fr.WriteContinuation(1, n == len(b), b[:n])
	}
}

// h2Frames is h2 for frames of any kind, on stream 1.
func (f *front) h2Frames(t *testing.T, write func(*http2.Framer)) string {
	t.Helper()
	conn, err := f.dial("h2")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var b bytes.Buffer
	out := http2.NewFramer(&b, nil)
	out.AllowIllegalWrites = true
	b.WriteString(http2.ClientPreface)
	_ = out.WriteSettings()
	write(out)
	go func() { _, _ = b.WriteTo(conn) }()
	_ = conn.SetReadDeadline(time.Now().Add(patience / 2))
	return answerOn(http2.NewFramer(nil, conn))
}

// answerOn reads until the stream or the connection ends.
func answerOn(in *http2.Framer) (answer string) {
	answer = "closed"
	decoder := hpack.NewDecoder(4096, func(h hpack.HeaderField) {
		switch h.Name {
		case ":status":
			answer = h.Value
		case "grpc-status":
			answer += " grpc-status " + h.Value
		}
	})
	for {
		f, err := in.ReadFrame()
		if err != nil {
			var timeout interface{ Timeout() bool }
			if errors.As(err, &timeout) && timeout.Timeout() {
				return answer + ", open"
			}
			return answer
		}
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			if answer == "closed" {
				return "GOAWAY " + f.ErrCode.String()
			}
		case *http2.RSTStreamFrame:
			if answer == "closed" {
				return "RST_STREAM " + f.ErrCode.String()
			}
			return answer
		case *http2.HeadersFrame:
			if _, err := decoder.Write(f.HeaderBlockFragment()); err != nil {
				return fmt.Sprintf("%s, %v", answer, err)
			}
			_ = decoder.Close()
			if f.StreamEnded() {
				return answer
			}
		case *http2.DataFrame:
			if f.StreamEnded() {
				return answer
			}
		}
	}
}
