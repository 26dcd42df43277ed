package registry

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// What is taken without its JSON is no longer in it than an entry may be, whatever its
// characters come to there.
func TestFits(t *testing.T) {
	for _, text := range []string{"x", "\x01", "\"", "<", "\xff", "é", "\u2028", "𝄞"} {
		for n := 0; n < MaxEntrySize; n += 1 + n/8 {
			long := strings.Repeat(text, n)
			for _, i := range []Instance{
				{ID: long, Health: Ready},
				{Kinds: []Kind{Kind(long), Kind(long)}},
				{Tags: map[string]string{long: long, "a": "b"}},
				{Version: long, Owner: long, StatusAddr: long, Service: long, Addr: long, Started: time.Now()},
			} {
				data, err := json.Marshal(i)
				if i.fits() && (err != nil || len(data) > MaxEntrySize) {
					t.Fatalf("%d of %q fit in %d bytes, %v", n, text, len(data), err)
				}
			}
		}
	}
	for name, i := range map[string]Instance{
		"a year that JSON has not": {Started: time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC)},
		"a long entry":             {Version: strings.Repeat("x", MaxEntrySize)},
	} {
		if i.fits() {
			t.Errorf("%s fits", name)
		}
	}
	if !(&Instance{ID: "a", Service: "echo.v1.EchoService", Addr: "127.0.0.1:4000", Started: time.Now()}).fits() {
		t.Error("a short entry does not fit")
	}
	if err := (&Instance{Version: strings.Repeat("x", MaxEntrySize)}).validateSize(); err == nil {
		t.Error("a long entry is in order")
	}
}
