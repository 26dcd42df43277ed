package attack

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// floods are frames that cost the sender nothing. The handler of no call runs
// for them.
var floods = []struct {
	name  string
	frame func(fr *http2.Framer, i int) error
	cut   bool // the server must close the connection
}{
	{name: "PING", cut: true, frame: func(fr *http2.Framer, _ int) error { return fr.WritePing(false, [8]byte{1}) }},
	{name: "SETTINGS", frame: func(fr *http2.Framer, _ int) error {
		return fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535})
	}},
	{name: "SETTINGS, header table", frame: func(fr *http2.Framer, i int) error {
		return fr.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 4096 * uint32(i%2)})
	}},
	{name: "WINDOW_UPDATE", frame: func(fr *http2.Framer, _ int) error { return fr.WriteWindowUpdate(1, 1) }},
	{name: "PRIORITY", frame: func(fr *http2.Framer, i int) error {
		return fr.WritePriority(uint32(2*i+1)&0x7fffffff, http2.PriorityParam{StreamDep: 0, Weight: 1})
	}},
	{name: "empty DATA", frame: func(fr *http2.Framer, _ int) error { return fr.WriteData(1, false, nil) }},
	{name: "unknown frame", frame: func(fr *http2.Framer, _ int) error { return fr.WriteRawFrame(0x77, 0, 1, []byte("hello")) }},
	{name: "RST_STREAM of no stream", frame: func(fr *http2.Framer, _ int) error { return fr.WriteRSTStream(1<<20+1, http2.ErrCodeCancel) }},
}

// flooded opens a stream and floods the connection.
func flooded(frame func(*http2.Framer, int) error) attack {
	return func(t *testing.T, x *target) (int, string) {
		h := x.h2(t)
		go h.read()
		h.open(chatPath)
		sent := h.flood(manyFrames, frame)
		h.settle()
		defer h.Close()
		return sent, h.said()
	}
}

// cut tells whether the server ended the connection, or said that it does:
// grpc-go closes some seconds after its GOAWAY.
func cut(d damage) bool {
	return strings.Contains(d.ended, "ended") || strings.Contains(d.ended, "GOAWAY")
}

func TestFloods(t *testing.T) {
	x := startEasyops(t)
	bare := startBare(t)
	raised := startEasyops(t, "-raised")
	few := floods
	if !full {
		few = floods[:4]
	}
	for _, f := range few {
		t.Run(f.name, func(t *testing.T) {
			d := strike(t, x, flooded(f.frame))
			unharmed(t, d)
			if f.cut && !cut(d) {
				t.Errorf("the connection goes on: %s", d.ended)
			}
			if full {
				strike(t, bare, flooded(f.frame))
			}
			if !f.cut {
				return
			}
			if d := strike(t, raised, flooded(f.frame)); cut(d) {
				t.Errorf("the control was cut too: %s", d.ended)
			}
		})
	}
}

func TestContinuationFlood(t *testing.T) {
	flood := func(t *testing.T, x *target) (int, string) {
		h := x.h2(t)
		go h.read()
		h.send(data(h.open(echoPath), true, message("first")))
		h.send(headers(3, false, request(echoPath)...))
		more := block("x-a", strings.Repeat("b", 15_000))
		sent := h.flood(manyBlocks, func(fr *http2.Framer, _ int) error { return fr.WriteContinuation(3, false, more) })
		h.settle()
		defer h.Close()
		return sent, h.said()
	}
	d := strike(t, startEasyops(t), flood)
	unharmed(t, d)
	if d.served > 1 {
		t.Errorf("%d calls were served, want 1", d.served)
	}
	if !cut(d) {
		t.Errorf("the connection goes on: %s", d.ended)
	}
	strike(t, startBare(t), flood)
}

// large sends calls with a header list of 15 MB.
func large(t *testing.T, x *target) (int, string) {
	h := x.h2(t)
	go h.read()
	more := block("x-a", strings.Repeat("b", 15_000))
	sent := 0
	for id := uint32(1); id < 9; id += 2 {
		h.send(headers(id, false, request(echoPath)...))
		sent += h.flood(1000, func(fr *http2.Framer, i int) error { return fr.WriteContinuation(id, i == 999, more) })
		h.send(data(id, true, message("large")))
	}
	h.settle()
	defer h.Close()
	return sent, h.said()
}

// bomb sends blocks that refer to one header of 3,900 bytes 4,000 times.
func bomb(t *testing.T, x *target) (int, string) {
	h := x.h2(t)
	go h.read()
	value := strings.Repeat("b", 3900)
	b := block(request(echoPath, "x-bomb", value)...)
	// Each request of its own would push the header out of the table.
	whole := append(b, bytes.Repeat([]byte{0x80 | 62}, 4000)...)
	sent := h.flood(200, func(fr *http2.Framer, i int) error {
		id := uint32(i + i%2*-1 + 1)
		if i%2 == 1 {
			return fr.WriteData(id, true, message("bomb"))
		}
		return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: whole, EndHeaders: true})
	})
	h.settle()
	defer h.Close()
	return sent, h.said()
}

func TestHeaders(t *testing.T) {
	for name, a := range map[string]attack{"large": large, "HPACK bomb": bomb} {
		t.Run(name, func(t *testing.T) {
			d := strike(t, startEasyops(t), a)
			unharmed(t, d)
			if d.served > 0 {
				t.Errorf("%d calls were served", d.served)
			}
			if d := strike(t, startBare(t), a); d.served < 1 {
				t.Errorf("the control served %d calls: the attack is none", d.served)
			}
		})
	}
}
