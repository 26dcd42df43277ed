package attack

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// tiny sends a message in DATA frames of one byte.
func tiny(t *testing.T, x *target) (int, string) {
	h := x.h2(t)
	go h.read()
	id := h.open(echoPath)
	body := message(strings.Repeat("a", 4<<20-64))
	sent := h.flood(tinyFrames, func(fr *http2.Framer, i int) error { return fr.WriteData(id, false, body[i:i+1]) })
	h.settle()
	defer h.Close()
	return sent, h.said()
}

// TestTinyFrames allows what grpc-go needs to keep each frame until the message
// is whole: 64 bytes for one.
func TestTinyFrames(t *testing.T) {
	d := strike(t, startEasyops(t), tiny)
	d.memory -= 64 * tinyFrames
	unharmed(t, d)
	strike(t, startBare(t), tiny)
}

// zipped sends one message that is small until it is decompressed.
func zipped(t *testing.T, x *target) (int, string) {
	h := x.h2(t)
	go h.read()
	id := h.open(echoPath, "grpc-encoding", "gzip")
	body := zeros()
	body = append(binary.BigEndian.AppendUint32([]byte{1}, uint32(len(body))), body...)
	sent := len(body)
	for len(body) > 0 {
		n := min(len(body), 16_000)
		if !h.send(data(id, n == len(body), body[:n])) {
			break
		}
		body = body[n:]
		time.Sleep(time.Millisecond) // in place of flow control
	}
	h.await("grpc-status")
	h.settle()
	defer h.Close()
	return sent, h.said()
}

// zeros is the message, made once: that takes longer than the attack.
var zeros = sync.OnceValue(func() []byte { return gzipped(bombBytes) })

// gzipped is an EchoRequest of n bytes, compressed.
func gzipped(n int) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(append([]byte{0x0a}, binary.AppendUvarint(nil, uint64(n))...))
	more := make([]byte, 1<<20)
	for ; n > 0; n -= len(more) {
		_, _ = w.Write(more[:min(n, len(more))])
	}
	_ = w.Close()
	return b.Bytes()
}

func TestGzipBomb(t *testing.T) {
	zeros()
	d := strike(t, startEasyops(t), zipped)
	unharmed(t, d)
	if d.served != 0 || !strings.Contains(d.ended, "grpc-status 8") {
		t.Errorf("%d handlers ran, the answer was %s, want RESOURCE_EXHAUSTED", d.served, d.ended)
	}
	strike(t, startBare(t), zipped)
	if d := strike(t, startEasyops(t, "-raised"), zipped); d.memory <= mostMemory {
		t.Errorf("memory of the control grew by %.1f MiB: the attack is none", float64(d.memory)/(1<<20))
	}
}

// held keeps the last byte of many calls of 4 MiB back.
func held(t *testing.T, x *target) (int, string) {
	h := x.h2(t)
	w := newWindows(h)
	h.window = w.see
	go h.read()
	body := message(strings.Repeat("a", 4<<20-64))
	body = body[:len(body)-1]
	var wg sync.WaitGroup
	for range heldCalls {
		id := h.open(echoPath)
		wg.Go(func() { w.send(h, id, body) })
	}
	wg.Wait()
	h.settle()
	defer h.Close()
	return heldCalls, h.said()
}

// TestHeldBack shows what does not hold: memory for requests that have nearly
// arrived is bounded by the number of calls only, as with grpc-go alone. It is
// also the control of how memory is measured.
func TestHeldBack(t *testing.T) {
	want := int64(heldCalls) * 3 << 20
	for _, x := range []*target{startEasyops(t), startBare(t)} {
		if d := strike(t, x, held); d.memory < want {
			t.Errorf("%s: memory grew by %.1f MiB only", x.name, float64(d.memory)/(1<<20))
		}
	}
}

// windows are how much may be sent (RFC 9113, section 5.2).
type windows struct {
	mu      sync.Mutex
	changed *sync.Cond
	conn    int64
	initial int64
	streams map[uint32]int64 // beyond the initial one
	over    bool
}

func newWindows(h *h2) *windows {
	w := &windows{conn: 65535, initial: 65535, streams: map[uint32]int64{}}
	w.changed = sync.NewCond(&w.mu)
	go func() {
		select {
		case <-h.gone:
		case <-time.After(patience):
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.over = true
		w.changed.Broadcast()
	}()
	return w
}

func (w *windows) see(f http2.Frame) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch f := f.(type) {
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			w.conn += int64(f.Increment)
		} else {
			w.streams[f.StreamID] += int64(f.Increment)
		}
	case *http2.SettingsFrame:
		if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
			w.initial = int64(v)
		}
	}
	w.changed.Broadcast()
}

// take waits until some of want bytes may be sent on a stream.
func (w *windows) take(id uint32, want int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.over && min(w.conn, w.initial+w.streams[id]) <= 0 {
		w.changed.Wait()
	}
	if w.over {
		return 0
	}
	n := min(int64(want), w.conn, w.initial+w.streams[id], 16<<10)
	w.conn -= n
	w.streams[id] -= n
	return int(n)
}

func (w *windows) send(h *h2, id uint32, b []byte) {
	for len(b) > 0 {
		n := w.take(id, len(b))
		if n == 0 || !h.send(data(id, false, b[:n])) {
			return
		}
		b = b[n:]
	}
}
