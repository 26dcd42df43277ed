package port

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/net/http2/hpack"
)

// rawFrame builds one frame.
func rawFrame(kind, flags byte, stream uint32, payload ...byte) string {
	b := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	b = binary.BigEndian.AppendUint32(b, stream)
	return string(append(b, payload...))
}

// block encodes header fields given as name, value, ...
func block(kv ...string) []byte {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for i := 0; i < len(kv); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: kv[i], Value: kv[i+1]})
	}
	return b.Bytes()
}

func contentType(v string) []byte {
	return block(":method", "POST", ":scheme", "http", ":path", "/a.B/C", "content-type", v)
}

const endAll = flagEndHeaders | 0x1

var (
	settingsFrame = rawFrame(frameSettings, 0, 0)
	ackFrame      = rawFrame(frameSettings, flagAck, 0)
	pingFrame     = rawFrame(framePing, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8)
	pongFrame     = rawFrame(framePing, flagAck, 0, 1, 2, 3, 4, 5, 6, 7, 8)
	grpcBlock     = contentType("application/grpc")
	grpcHeaders   = rawFrame(frameHeaders, flagEndHeaders, 1, grpcBlock...)
	httpHeaders   = rawFrame(frameHeaders, endAll, 1, contentType("text/plain")...)
)

func padded(n byte, b []byte, pad int) []byte {
	return append(append([]byte{n}, b...), make([]byte, pad)...)
}

var scripts = []struct {
	name, frames string
	want         verdict
	code         int // -1: no error
	waiting      bool
}{
	{"nothing", "", undecided, -1, false},
	{"settings only", settingsFrame, undecided, -1, true},
	{"settings, ack", settingsFrame + ackFrame, undecided, -1, true},
	{"half a ping", settingsFrame + pingFrame[:12], undecided, -1, false},
	{"grpc", settingsFrame + grpcHeaders, verdictGRPC, -1, false},
	{"grpc+proto", settingsFrame + rawFrame(1, 4, 1, contentType("application/grpc+proto")...), verdictGRPC, -1, false},
	{"grpc;charset", settingsFrame + rawFrame(1, 4, 1, contentType("application/grpc;a=b")...), verdictGRPC, -1, false},
	{"grpc-web", settingsFrame + rawFrame(1, 4, 1, contentType("application/grpc-web+proto")...), verdictHTTP, -1, false},
	{"grpcfoo", settingsFrame + rawFrame(1, 4, 1, contentType("application/grpcfoo")...), verdictHTTP, -1, false},
	{"http", settingsFrame + httpHeaders, verdictHTTP, -1, false},
	{"no content-type", settingsFrame + rawFrame(1, endAll, 1, block(":method", "GET")...), verdictHTTP, -1, false},
	{"connection in HTTP/2", settingsFrame + rawFrame(1, endAll, 1, block(":method", "GET", "connection", "keep-alive")...), undecided, codeProtocol, false},
	{"upgrade in HTTP/2", settingsFrame + rawFrame(1, endAll, 1, block(":method", "GET", "content-type", "text/plain", "upgrade", "websocket")...), undecided, codeProtocol, false},
	{"connection in a call is for the gRPC server", settingsFrame + rawFrame(1, 4, 1, block("connection", "close", "content-type", "application/grpc")...), verdictGRPC, -1, false},
	{"first content-type counts", settingsFrame + rawFrame(1, 4, 1, block("content-type", "text/plain", "content-type", "application/grpc")...), verdictHTTP, -1, false},
	{"grpc, then anything", settingsFrame + grpcHeaders + rawFrame(0, 0, 1, 1, 2, 3) + "garbage, which is the stack's business", verdictGRPC, -1, false},
	{"control frames before", settingsFrame + ackFrame + pingFrame + rawFrame(8, 0, 0, 0, 0, 1, 0) + rawFrame(framePriority, 0, 3, 0, 0, 0, 0, 1) + rawFrame(0xfa, 0xff, 7, 1) + grpcHeaders, verdictGRPC, -1, false},
	{"continuation", settingsFrame + rawFrame(1, 0, 1, grpcBlock[:5]...) + rawFrame(9, 0, 1) + rawFrame(9, 4, 1, grpcBlock[5:]...), verdictGRPC, -1, false},
	{"open block", settingsFrame + rawFrame(1, 0, 1, grpcBlock...), undecided, -1, false},
	{"padded", settingsFrame + rawFrame(1, flagEndHeaders|flagPadded, 1, padded(7, grpcBlock, 7)...), verdictGRPC, -1, false},
	{"priority", settingsFrame + rawFrame(1, flagEndHeaders|flagPriority, 5, append(make([]byte, 5), grpcBlock...)...), verdictGRPC, -1, false},
	{"padded and priority", settingsFrame + rawFrame(1, flagEndHeaders|flagPadded|flagPriority, 1, padded(2, append(make([]byte, 5), grpcBlock...), 2)...), verdictGRPC, -1, false},
	{"reserved bit of the stream", settingsFrame + rawFrame(1, 4, 1<<31|1, grpcBlock...), verdictGRPC, -1, false},

	{"ack first", ackFrame, undecided, codeProtocol, false},
	{"ping first", pingFrame, undecided, codeProtocol, false},
	{"headers first", grpcHeaders, undecided, codeProtocol, false},
	{"http/1 after the preface", "GET / HTTP/1.1\r\n\r\n", undecided, codeProtocol, false},
	{"padding too long", settingsFrame + rawFrame(1, flagEndHeaders|flagPadded, 1, padded(200, grpcBlock, 3)...), undecided, codeProtocol, false},
	{"padding length missing", settingsFrame + rawFrame(1, flagEndHeaders|flagPadded, 1), undecided, codeFrameSize, false},
	{"priority cut short", settingsFrame + rawFrame(1, flagEndHeaders|flagPriority, 1, 0, 0, 0, 0), undecided, codeFrameSize, false},
	{"stream 0", settingsFrame + rawFrame(1, 4, 0, grpcBlock...), undecided, codeProtocol, false},
	{"even stream", settingsFrame + rawFrame(1, 4, 2, grpcBlock...), undecided, codeProtocol, false},
	{"data first", settingsFrame + rawFrame(0, 0, 1, 1), undecided, codeProtocol, false},
	{"reset of an idle stream", settingsFrame + rawFrame(3, 0, 1, 0, 0, 0, 8), undecided, codeProtocol, false},
	{"push", settingsFrame + rawFrame(5, 4, 1, 0, 0, 0, 2), undecided, codeProtocol, false},
	{"goaway", settingsFrame + rawFrame(7, 0, 0, make([]byte, 8)...), undecided, codeNone, false},
	{"continuation of nothing", settingsFrame + rawFrame(9, 4, 1, grpcBlock...), undecided, codeProtocol, false},
	{"interrupted block", settingsFrame + rawFrame(1, 0, 1, grpcBlock[:5]...) + pingFrame, undecided, codeProtocol, false},
	{"continuation of another stream", settingsFrame + rawFrame(1, 0, 1, grpcBlock[:5]...) + rawFrame(9, 4, 3, grpcBlock[5:]...), undecided, codeProtocol, false},
	{"hpack index out of range", settingsFrame + rawFrame(1, 4, 1, 0xff, 0xff, 0x00), undecided, codeCompression, false},
	{"hpack cut short", settingsFrame + rawFrame(1, 4, 1, grpcBlock[:len(grpcBlock)-2]...), undecided, codeCompression, false},
	{"hpack table larger than allowed", settingsFrame + rawFrame(1, 4, 1, 0x3f, 0xff, 0xff, 0x7f), undecided, codeCompression, false},
	{"frame of 16 KiB + 1", settingsFrame + "\x00\x40\x01\x01\x04\x00\x00\x00\x01", undecided, codeFrameSize, false},
	{"settings of a stream", settingsFrame + rawFrame(frameSettings, 0, 1), undecided, codeProtocol, false},
	{"settings of 5 bytes", settingsFrame + rawFrame(frameSettings, 0, 0, 1, 2, 3, 4, 5), undecided, codeFrameSize, false},
	{"first settings of 5 bytes", rawFrame(frameSettings, 0, 0, 1, 2, 3, 4, 5), undecided, codeFrameSize, false},
	{"ack with a payload", settingsFrame + rawFrame(frameSettings, flagAck, 0, 0, 4, 0, 0, 0, 0), undecided, codeFrameSize, false},
	{"push 1", rawFrame(frameSettings, 0, 0, 0, 2, 0, 0, 0, 1), undecided, -1, true},
	{"push 2", rawFrame(frameSettings, 0, 0, 0, 2, 0, 0, 0, 2), undecided, codeProtocol, false},
	{"window of 2 GiB", rawFrame(frameSettings, 0, 0, 0, 4, 128, 0, 0, 0), undecided, codeFlowControl, false},
	{"frames of 16,383 bytes", rawFrame(frameSettings, 0, 0, 0, 5, 0, 0, 63, 255), undecided, codeProtocol, false},
	{"frames of 16 MiB", rawFrame(frameSettings, 0, 0, 0, 5, 1, 0, 0, 0), undecided, codeProtocol, false},
	{"settings in their range", rawFrame(frameSettings, 0, 0, 0, 4, 127, 255, 255, 255, 0, 5, 0, 255, 255, 255, 0, 99, 255, 255, 255, 255), undecided, -1, true},
	{"100 settings", numbered(0, 60) + numbered(60, 100), undecided, -1, true},
	{"101 settings", numbered(0, 60) + numbered(60, 101), undecided, codeEnhanceYourCalm, false},
	{"ping of a stream", settingsFrame + rawFrame(framePing, 0, 1, make([]byte, 8)...), undecided, codeProtocol, false},
	{"ping of 7 bytes", settingsFrame + rawFrame(framePing, 0, 0, make([]byte, 7)...), undecided, codeFrameSize, false},
	{"pong", settingsFrame + pongFrame, undecided, -1, true},
	{"priority of no stream", settingsFrame + rawFrame(framePriority, 0, 0, 0, 0, 0, 0, 1), undecided, codeProtocol, false},
	{"window update of 3 bytes", settingsFrame + rawFrame(frameWindowUpdate, 0, 0, 0, 0, 1), undecided, codeFrameSize, false},
	{"window update of 0", settingsFrame + rawFrame(frameWindowUpdate, 0, 0, 0, 0, 0, 0), undecided, codeProtocol, false},
	{"window update of an idle stream", settingsFrame + rawFrame(frameWindowUpdate, 0, 1, 0, 0, 0, 1), undecided, codeProtocol, false},
	{"largest window", settingsFrame + rawFrame(frameWindowUpdate, 0, 0, 127, 255, 0, 0), undecided, -1, true},
	{"larger window", settingsFrame + rawFrame(frameWindowUpdate, 0, 0, 127, 255, 0, 0) + rawFrame(frameWindowUpdate, 0, 0, 0, 0, 0, 1), undecided, codeFlowControl, false},
	{"63 pings", settingsFrame + strings.Repeat(pingFrame, 62) + grpcHeaders, verdictGRPC, -1, false},
	{"ping flood", settingsFrame + strings.Repeat(pingFrame, 64), undecided, codeEnhanceYourCalm, false},
	{"continuation flood", settingsFrame + rawFrame(1, 0, 1) + strings.Repeat(rawFrame(9, 0, 1), 64), undecided, codeEnhanceYourCalm, false},
	{"64 KiB", settingsFrame + strings.Repeat(rawFrame(0xfa, 0, 0, make([]byte, 16000)...), 5), undecided, codeEnhanceYourCalm, false},
}

// run feeds all of r to a sniffer and returns its last word.
func run(r io.Reader) (*sniffer, verdict, error) {
	s := &sniffer{buf: make([]byte, 0, 16)}
	for {
		if v, err := s.step(); v != undecided || err != nil {
			return s, v, err
		}
		if err := s.readFrom(r); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return s, undecided, err
		}
	}
}

func TestSniff(t *testing.T) {
	for _, tc := range scripts {
		t.Run(tc.name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{
				"whole":         strings.NewReader(tc.frames),
				"byte by byte":  iotest.OneByteReader(strings.NewReader(tc.frames)),
				"error at once": iotest.DataErrReader(strings.NewReader(tc.frames)),
			} {
				s, v, err := run(r)
				code := -1
				var bad protocolError
				if errors.As(err, &bad) {
					code = int(bad.code)
				} else if err != nil {
					t.Fatalf("%s: %v", how, err)
				}
				if v != tc.want || code != tc.code {
					t.Errorf("%s: verdict %d, code %d (%v); want %d, %d", how, v, code, err, tc.want, tc.code)
				}
				if s.waiting() != tc.waiting && code == -1 && v == undecided {
					t.Errorf("%s: waiting %t", how, s.waiting())
				}
				checkReplay(t, tc.frames, s, err)
			}
		})
	}
}

// numbered is a SETTINGS frame of settings that nobody knows.
func numbered(from, to uint32) string {
	var kv []uint32
	for ; from < to; from++ {
		kv = append(kv, 1000+from, 1)
	}
	return settings(kv...)
}

// checkReplay: what is replayed is what was sent but for what was answered.
func checkReplay(t *testing.T, sent string, s *sniffer, err error) {
	t.Helper()
	if !strings.HasPrefix(withoutAnswered(sent), withoutAnswered(string(s.buf))) {
		t.Error("the replay differs from what was sent")
	}
	if seen := string(s.buf[:s.off]); err == nil && s.first > 0 && seen[s.firstEnd():] != withoutAnswered(seen[s.firstEnd():]) {
		t.Error("what was answered is replayed")
	}
}

// firstEnd is where the first SETTINGS frame ends.
func (s *sniffer) firstEnd() int {
	return s.first + int(binary.BigEndian.Uint16(s.buf[s.first-8:]))
}

// withoutAnswered returns frames up to the first that is cut short, without SETTINGS and PINGs that
// want an answer.
func withoutAnswered(frames string) (rest string) {
	for len(frames) >= frameHeaderLen {
		n := frameHeaderLen + int(frames[0])<<16 + int(frames[1])<<8 + int(frames[2])
		if len(frames) < n {
			return rest
		}
		if kind := frames[3]; frames[4]&flagAck != 0 || kind != framePing && kind != frameSettings {
			rest += frames[:n]
		}
		frames = frames[n:]
	}
	return rest
}

// An HPACK bomb (one large entry, referred to again and again) must not grow in memory.
func TestSniffBomb(t *testing.T) {
	b := block("x", strings.Repeat("a", 4000))
	b = append(b, bytes.Repeat([]byte{0x80 | 62}, 8000)...)
	in := settingsFrame + rawFrame(1, flagEndHeaders, 1, b...)
	allocs := testing.AllocsPerRun(10, func() {
		if _, v, err := run(strings.NewReader(in)); v != verdictHTTP || err != nil {
			t.Error(v, err)
		}
	})
	if allocs > 100 {
		t.Errorf("%v allocations for a block of %d bytes and 8,000 fields", allocs, len(b))
	}
}

func FuzzSniff(f *testing.F) {
	for _, tc := range scripts {
		f.Add([]byte(tc.frames))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		_, v1, err1 := run(bytes.NewReader(in))
		s, v2, err2 := run(iotest.OneByteReader(bytes.NewReader(in)))
		if v1 != v2 || (err1 == nil) != (err2 == nil) {
			t.Errorf("verdict depends on how the bytes arrive: %d %v, %d %v", v1, err1, v2, err2)
		}
		if len(s.buf) > maxSniff {
			t.Errorf("%d bytes kept", len(s.buf))
		}
		checkReplay(t, string(in), s, err2)
		if len(s.reply) > maxSniffFrames*len(pongFrame) {
			t.Errorf("%d bytes of answers", len(s.reply))
		}
		if got := filter(t, iotest.OneByteReader(bytes.NewReader(in))); string(got) != string(filter(t, bytes.NewReader(in))) {
			t.Error("the filter depends on how the bytes arrive")
		}
	})
}

// filter runs in, frames without a preface, through an ackFilter.
func filter(t *testing.T, in io.Reader) []byte {
	t.Helper()
	f := &ackFilter{src: in.Read}
	var out bytes.Buffer
	b := make([]byte, 7)
	for !f.done {
		n, err := f.read(b)
		out.Write(b[:n])
		if errors.Is(err, io.EOF) {
			return out.Bytes()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	_, _ = io.Copy(&out, in)
	return out.Bytes()
}

func TestAckFilter(t *testing.T) {
	data := rawFrame(frameData, 0, 1, []byte(strings.Repeat(ackFrame, 3))...) // looks like an ACK inside
	for _, tc := range []struct{ name, in, want string }{
		{"none", settingsFrame + data, settingsFrame + data},
		{"first", settingsFrame + ackFrame + data, settingsFrame + data},
		{"after data", settingsFrame + data + data + ackFrame + data, settingsFrame + data + data + data},
		{"only the first", ackFrame + ackFrame + data + ackFrame, ackFrame + data + ackFrame},
		{"half a header at the end", settingsFrame + ackFrame[:4], settingsFrame},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tc.in), iotest.OneByteReader(strings.NewReader(tc.in)), iotest.HalfReader(strings.NewReader(tc.in))} {
				if got := filter(t, r); string(got) != tc.want {
					t.Errorf("got  %q\nwant %q", got, tc.want)
				}
			}
		})
	}
}

// A deadline in the middle of a frame's header loses nothing.
func TestAckFilterInterrupted(t *testing.T) {
	in := settingsFrame + rawFrame(frameData, 0, 1, 1, 2, 3)
	stop := errors.New("deadline")
	reads := 0
	f := &ackFilter{src: func(b []byte) (int, error) {
		if reads++; reads%2 == 0 {
			return 0, stop
		}
		n := copy(b[:min(len(b), 4)], in)
		in = in[n:]
		if n == 0 {
			return 0, io.EOF
		}
		return n, nil
	}}
	want, out, b := in, "", make([]byte, 64)
	for {
		n, err := f.read(b)
		out += string(b[:n])
		if errors.Is(err, io.EOF) {
			break
		}
	}
	if out != want {
		t.Errorf("got %q, want %q", out, want)
	}
}
