package port

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// Frame types, flags, settings and error codes of RFC 9113 that classification needs.
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	framePriority     = 0x2
	frameRSTStream    = 0x3
	frameSettings     = 0x4
	framePushPromise  = 0x5
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindowUpdate = 0x8
	frameContinuation = 0x9

	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20

	settingHeaderTableSize      = 0x1
	settingEnablePush           = 0x2
	settingMaxConcurrentStreams = 0x3
	settingInitialWindowSize    = 0x4
	settingMaxFrameSize         = 0x5
	settingNoRFC7540Priorities  = 0x9 // RFC 9218, section 2.1

	codeNone               = 0x0
	codeProtocol           = 0x1
	codeFlowControl        = 0x3
	codeFrameSize          = 0x6
	codeCompression        = 0x9
	codeEnhanceYourCalm    = 0xb
	codeInadequateSecurity = 0xc

	frameHeaderLen  = 9
	maxFrameLen     = 16 << 10 // RFC 9113's default: the port announces no other
	maxSniffFrames  = 64       // and so of answers to PING and SETTINGS
	maxSettings     = 100      // in more than one frame, as net/http has it for one
	defaultWindow   = 1<<16 - 1
	maxWindow       = 1<<31 - 1
	headerTableSize = 4096
)

type verdict int

const (
	undecided verdict = iota
	verdictGRPC
	verdictHTTP
)

// protocolError is a client's breach of HTTP/2's rules, or of the port's limits.
type protocolError struct {
	code   uint32
	reason string
}

func (e protocolError) Error() string { return fmt.Sprintf("http/2: %s (code %d)", e.reason, e.code) }

// sniffer reads an HTTP/2 client's frames up to the end of its first header block. A client may
// wait for answers before it sends that, so SETTINGS are acknowledged here and PINGs answered;
// what could not be answered so is refused. buf is replayed to the stack that gets the
// connection, with one SETTINGS frame, whose acknowledgement by the stack is dropped: net/http
// acknowledges several at a time.
type sniffer struct {
	buf    []byte // everything read so far but PINGs, and SETTINGS merged into the first
	reply  []byte // still to be sent
	off    int    // where the next frame begins
	frames int
	first  int   // where the payload of the first SETTINGS begins; 0: not seen yet
	window int64 // the client's for the connection, beyond the default
	// While a header block is open:
	block  []byte
	stream uint32 // 0: none is open
}

type frame struct {
	kind, flags byte
	stream      uint32
	payload     []byte
}

// waiting reports whether the client has begun properly and owes nothing.
func (s *sniffer) waiting() bool { return s.first > 0 && s.stream == 0 && s.off == len(s.buf) }

// step looks at the whole frames in the buffer.
func (s *sniffer) step() (verdict, error) {
	for {
		f, ok, err := s.nextFrame()
		if !ok || err != nil {
			return undecided, err
		}
		if s.frames++; s.frames > maxSniffFrames {
			return undecided, protocolError{codeEnhanceYourCalm, "no request in the first 64 frames"}
		}
		if err := s.see(f); err != nil {
			return undecided, err
		}
		if s.stream != 0 && f.flags&flagEndHeaders != 0 {
			return s.judge()
		}
	}
}

func (s *sniffer) nextFrame() (f frame, ok bool, err error) {
	b := s.buf[s.off:]
	if len(b) < frameHeaderLen {
		return frame{}, false, nil
	}
	n := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
	f = frame{kind: b[3], flags: b[4], stream: binary.BigEndian.Uint32(b[5:]) &^ (1 << 31)}
	if s.first == 0 && (f.kind != frameSettings || f.flags&flagAck != 0) {
		return frame{}, false, protocolError{codeProtocol, "first frame is not SETTINGS"}
	}
	if n > maxFrameLen {
		return frame{}, false, protocolError{codeFrameSize, "frame is larger than allowed"}
	}
	if len(b) < frameHeaderLen+n {
		return frame{}, false, nil
	}
	f.payload = b[frameHeaderLen : frameHeaderLen+n]
	s.off += frameHeaderLen + n
	return f, true, nil
}

// see takes one frame into account.
func (s *sniffer) see(f frame) error {
	if (s.stream != 0) != (f.kind == frameContinuation) || s.stream != 0 && f.stream != s.stream {
		return protocolError{codeProtocol, "header block is interrupted, or was never begun"}
	}
	switch f.kind {
	case frameSettings:
		return s.acknowledge(f)
	case framePing:
		return s.answer(f)
	case frameWindowUpdate:
		return s.widen(f)
	case frameHeaders:
		return s.open(f)
	case frameContinuation:
		s.block = append(s.block, f.payload...)
	case frameData, frameRSTStream:
		return protocolError{codeProtocol, "frame on an idle stream"}
	case framePushPromise:
		return protocolError{codeProtocol, "push from a client"}
	case frameGoAway:
		return protocolError{codeNone, "client left"}
	case framePriority:
		if f.stream == 0 {
			return protocolError{codeProtocol, "PRIORITY of no stream"}
		}
	}
	return nil // the rest of PRIORITY and unknown frames are the stack's business
}

// open begins the first header block with a HEADERS frame.
func (s *sniffer) open(f frame) error {
	if f.stream%2 == 0 {
		return protocolError{codeProtocol, "request on a stream that is not the client's"}
	}
	b := f.payload
	pad := 0
	if f.flags&flagPadded != 0 {
		if len(b) == 0 {
			return protocolError{codeFrameSize, "padding length is missing"}
		}
		pad, b = int(b[0]), b[1:]
	}
	if f.flags&flagPriority != 0 {
		if len(b) < 5 {
			return protocolError{codeFrameSize, "priority is cut short"}
		}
		b = b[5:]
	}
	if pad > len(b) {
		return protocolError{codeProtocol, "padding is longer than the frame"}
	}
	s.stream = f.stream
	s.block = b[: len(b)-pad : len(b)-pad] // the cap makes CONTINUATION copy
	return nil
}

// judge decodes the header block, of gRPC as far as its content-type. What makes a request of the
// others malformed is told in the words of HTTP/2, where net/http would answer it.
func (s *sniffer) judge() (verdict, error) {
	v, malformed, typed := verdictHTTP, "", false
	dec := hpack.NewDecoder(headerTableSize, nil)
	dec.SetEmitFunc(func(h hpack.HeaderField) {
		switch {
		case h.Name == "content-type" && !typed: // the first counts
			typed = true
			if isGRPCContentType(h.Value) {
				v = verdictGRPC
				dec.SetEmitEnabled(false)
			}
		case isOfConnection(h.Name):
			malformed = h.Name
		}
	})
	if _, err := dec.Write(s.block); err != nil {
		return undecided, protocolError{codeCompression, err.Error()}
	}
	if err := dec.Close(); err != nil {
		return undecided, protocolError{codeCompression, err.Error()}
	}
	if v == verdictHTTP && malformed != "" {
		return undecided, protocolError{codeProtocol, "header field of HTTP/1 connections: " + malformed}
	}
	return v, nil
}

// isOfConnection reports whether a header field makes a request of HTTP/2 malformed (RFC 9113,
// section 8.2.2).
func isOfConnection(name string) bool {
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return true
	}
	return false
}

// IsGRPC reports whether r is a gRPC call that came over the HTTP server's HTTP/2; the handler
// passes it to grpc.Server.ServeHTTP. gRPC-Web is not gRPC.
func IsGRPC(r *http.Request) bool {
	// The method keeps out "PRI * HTTP/2.0", which net/http lets through on HTTP/1 connections.
	return r.ProtoMajor == 2 && r.Method == http.MethodPost && isGRPCContentType(r.Header.Get("Content-Type"))
}

// isGRPCContentType follows grpc-go: application/grpc, alone or with a subtype after + or ;.
func isGRPCContentType(v string) bool {
	rest, ok := strings.CutPrefix(v, "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// settings is the server's half of the preface, which must come before the stack is known. The
// stack sends its own SETTINGS after it, so this frame says only what that will not contradict:
// net/http's says NO_RFC7540_PRIORITIES=1, and a client may treat a change of it as an error.
func (p *Port) settings() []byte {
	b := []byte{0, 0, 12, frameSettings, 0, 0, 0, 0, 0}
	b = binary.BigEndian.AppendUint16(b, settingNoRFC7540Priorities)
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint16(b, settingMaxConcurrentStreams)
	return binary.BigEndian.AppendUint32(b, p.cfg.MaxStreams)
}

// goAway is a GOAWAY frame that says no stream was processed, so a client may send all of them
// again elsewhere (RFC 9113, section 6.8).
func goAway(code uint32) []byte {
	b := []byte{0, 0, 8, frameGoAway, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	return binary.BigEndian.AppendUint32(b, code)
}
