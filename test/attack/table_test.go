package attack

import (
	"io"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// resize changes the size of the table of header compression while answers are
// written, for some time or until the process has ended.
func (x *target) resize(within time.Duration) (lives bool) {
	end := time.Now().Add(within)
	for time.Now().Before(end) {
		c, err := x.connect()
		if err != nil {
			break
		}
		h := newH2(c)
		_, _ = io.WriteString(h, http2.ClientPreface+emptySettings)
		go func() { _, _ = io.Copy(io.Discard, h) }()
		for id := uint32(1); id < 40_000 && time.Now().Before(end) && h.resize(id); id += 200 {
		}
		h.Close()
	}
	select {
	case <-x.exited:
		return false
	case <-time.After(settling):
		return true
	}
}

// resize asks for a page on each of 100 streams, and changes the table in
// between.
func (h *h2) resize(first uint32) bool {
	page := block(":method", "GET", ":scheme", "http", ":path", "/", ":authority", "localhost")
	return h.flood(300, func(fr *http2.Framer, i int) error {
		if i%3 == 0 {
			id := first + 2*uint32(i/3)
			return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: page, EndHeaders: true, EndStream: true})
		}
		return fr.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 4096 * uint32(i%3-1)})
	}) == 300
}

// TestHeaderTable resizes on both ways to net/http, which of itself changes the
// table while it is in use: a concurrent map access, that ends the process. Bound
// to nothing but its defaults it is the control.
func TestHeaderTable(t *testing.T) {
	for _, protocols := range [][]string{nil, {"h2", "http/1.1"}} {
		x := startEasyopsOver(t, protocols...)
		if !x.resize(sustained) {
			t.Errorf("%s: the process has ended", x.name)
		}
	}
	alone := launch(t, plain(t), "net/http", "-nethttp=")
	if err := alone.listens(); err != nil {
		t.Fatal(err)
	}
	if alone.resize(10 * settling) {
		t.Log("net/http alone lives: the race was not hit this time, or this version of Go has mended it")
	}
}
