package easyops_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/easyops"
)

// What operators do is logged whatever the level: one who turns it up is seen, and
// so is all that comes after. A handler that refuses INFO gets the lines too.
func TestNoLevelHidesTheAudit(t *testing.T) {
	for name, handler := range map[string]*slog.HandlerOptions{"handler at debug": {Level: slog.LevelDebug}, "handler at error": {Level: slog.LevelError}} {
		for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError, slog.LevelError + 100} {
			t.Run(name+", "+level.String(), func(t *testing.T) {
				t.Parallel()
				var l logs
				s := startEcho(t, easyops.WithLogger(slog.New(slog.NewJSONHandler(&l, handler))), easyops.WithLogLevel(level))
				base := local(s.Server)
				audits := func(want int) {
					t.Helper()
					if got := len(l.with(t, "audit")); got != want {
						t.Errorf("%d audit lines, want %d:\n%s", got, want, l.String())
					}
				}
				if serving := len(l.with(t, "serving")); (serving > 0) != (level <= slog.LevelInfo) {
					t.Errorf("%d lines of level INFO that are no audit", serving)
				}
				mustSet(t, base, "easyops.drain-delay", "20ms")
				audits(1)
				if code, body := get(t, base+"/internal/debug/allocs"); code != http.StatusOK {
					t.Fatal(code, body)
				}
				audits(2)
				if code, body := setParameters(t, base, "?ttl=1", "easyops.log-level", "error"); code != http.StatusOK {
					t.Fatal(code, body)
				}
				audits(3)
				mustSet(t, base, "easyops.drain-delay", "30ms")
				audits(4)
				for end := time.Now().Add(10 * time.Second); len(l.with(t, "parameter reverted")) == 0; time.Sleep(20 * time.Millisecond) {
					if time.Now().After(end) {
						t.Fatal("that the level went back is not in the log")
					}
				}
				if out := l.String(); !strings.Contains(out, `"what":"easyops.log-level"`) {
					t.Error(out)
				}
			})
		}
	}
}
