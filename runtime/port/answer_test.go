package port

import (
	"bytes"
	"encoding/binary"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// settings is a SETTINGS frame of identifiers and values.
func settings(kv ...uint32) string {
	var b []byte
	for i := 0; i < len(kv); i += 2 {
		b = binary.BigEndian.AppendUint16(b, uint16(kv[i]))
		b = binary.BigEndian.AppendUint32(b, kv[i+1])
	}
	return rawFrame(frameSettings, 0, 0, b...)
}

// Each SETTINGS and each PING before the first request is answered, and nothing after it.
func TestSniffAnswers(t *testing.T) {
	request := ackFrame + grpcHeaders
	for _, tc := range []struct{ name, sent, replayed, answers string }{
		{"settings", settingsFrame + request, settingsFrame + request, ackFrame},
		{"settings twice", settingsFrame + settingsFrame + request, settingsFrame + request, ackFrame + ackFrame},
		{"other settings", settings(3, 1) + ackFrame + settings(4, 2) + request, settings(3, 1, 4, 2) + ackFrame + request, ackFrame + ackFrame},
		{"the last counts", settings(3, 1, 4, 1) + settings(4, 2) + settings(4, 3, 4, 4) + request, settings(3, 1, 4, 4) + request, ackFrame + ackFrame + ackFrame},
		{"of a table the least", settings(1, 100) + settings(1, 50) + settings(1, 4096) + request, settings(1, 50) + request, ackFrame + ackFrame + ackFrame},
		{"as it is", settings(1, 100, 4, 1, 1, 50, 4, 2) + request, settings(1, 100, 4, 1, 1, 50, 4, 2) + request, ackFrame},
		{"ping", settingsFrame + pingFrame + request, settingsFrame + request, ackFrame + pongFrame},
		{"ping later", settingsFrame + request + pingFrame + settingsFrame, settingsFrame + request + pingFrame + settingsFrame, ackFrame},
		{"all", settingsFrame + pingFrame + pongFrame + settingsFrame + pingFrame + request, settingsFrame + pongFrame + request, ackFrame + pongFrame + ackFrame + pongFrame},
	} {
		s := &sniffer{buf: []byte(tc.sent)}
		if v, err := s.step(); v != verdictGRPC || err != nil {
			t.Errorf("%s: %v, %v", tc.name, v, err)
		}
		if string(s.buf) != tc.replayed || string(s.reply) != tc.answers {
			t.Errorf("%s: replayed %q, answered %q", tc.name, s.buf, s.reply)
		}
	}
}

// The stack's first acknowledgements are dropped, however its frames are cut into writes.
func TestAckDropper(t *testing.T) {
	data := rawFrame(frameData, 0, 1, []byte(strings.Repeat(ackFrame, 3))...) // looks like an ACK inside
	for _, tc := range []struct {
		name      string
		in, wants string
	}{
		{"first", settingsFrame + ackFrame + data, settingsFrame + data},
		{"only the first", settingsFrame + ackFrame + data + ackFrame, settingsFrame + data + ackFrame},
		{"after data", settingsFrame + data + data + ackFrame + data, settingsFrame + data + data + data},
		{"never", settingsFrame + data + pongFrame, settingsFrame + data + pongFrame},
	} {
		for _, size := range []int{1, 2, 5, 9, 10, 1000} {
			c := &recorder{}
			r := &replayConn{Conn: c, acks: &ackDropper{}}
			for piece := range slices.Chunk([]byte(tc.in), size) {
				if n, err := r.Write(piece); n != len(piece) || err != nil {
					t.Fatal(n, err)
				}
			}
			if c.written.String() != tc.wants {
				t.Errorf("%s, in writes of %d: got  %q\nwant %q", tc.name, size, c.written.String(), tc.wants)
			}
			if tc.name != "never" && r.acks != nil {
				t.Errorf("%s, in writes of %d: the filter is still there", tc.name, size)
			}
		}
	}
}

// recorder is a connection that notes what is done with it.
type recorder struct {
	net.Conn
	written  bytes.Buffer
	deadline time.Time
}

func (r *recorder) Write(b []byte) (int, error) { return r.written.Write(b) }

func (r *recorder) SetDeadline(t time.Time) error     { r.deadline = t; return nil }
func (r *recorder) SetReadDeadline(t time.Time) error { return r.SetDeadline(t) }

// The steps of a beginning are bounded together, and who wastes them has less time for a request.
func TestBeginningAsAWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, p := &recorder{}, &Port{cfg: Config{}.withDefaults(), conns: map[*conn]struct{}{}}
		accepted := time.Now()
		c := &conn{Conn: r, port: p, begun: accepted}
		p.conns[c] = struct{}{}
		deadline := func(what string, want time.Duration) {
			t.Helper()
			if got := r.deadline.Sub(accepted); got != want {
				t.Errorf("%s: deadline after %v, want %v", what, got, want)
			}
		}
		p.stage(c)
		deadline("first step", 5*time.Second)
		time.Sleep(time.Second)
		p.stage(c)
		deadline("second step", 6*time.Second)
		time.Sleep(3500 * time.Millisecond)
		p.stage(c)
		deadline("third step", 7*time.Second)

		p.settle(c, protoHTTP1)
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		deadline("first request, begun late", 7*time.Second)
		p.requestBegan(c)
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		deadline("control: second request", 9500*time.Millisecond)
		_ = c.SetReadDeadline(time.Time{})
		if !r.deadline.IsZero() {
			t.Error("no deadline has become one")
		}
		quick := &conn{Conn: r, port: p, begun: time.Now().Add(-2 * time.Second)}
		p.conns[quick] = struct{}{}
		p.settle(quick, protoHTTP1)
		_ = quick.SetReadDeadline(time.Now().Add(5 * time.Second))
		deadline("control: begun in time", 9500*time.Millisecond)
	})
}
