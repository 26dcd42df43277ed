package status

import (
	"strings"
	"testing"
)

func TestHealth(t *testing.T) {
	f := newFixture(t)
	for state, code := range map[string]int{"STARTING": 503, "READY": 200, "NOT_READY": 503, "STOPPING": 503} {
		f.setState(state)
		if a := f.ask("GET", "/internal/health"); a.StatusCode != code || a.body != state+"\n" {
			t.Errorf("%s: %d %q", state, a.StatusCode, a.body)
		}
		f.ask("GET", "/internal/health?format=json").want(t, code, `"state": "`+state+`"`, `"name": "database"`)
		f.ask("GET", "/livez").want(t, 200, "ok")
		f.ask("GET", "/readyz").want(t, code)
	}
}

func TestVerboseProbesWithholdReasons(t *testing.T) {
	f := newFixture(t)
	f.ask("GET", "/readyz?verbose").want(t, 200, "[+]database ok\nreadyz check passed\n")
	f.setState("NOT_READY")
	f.ask("GET", "/readyz?verbose").want(t, 503, "[+]database ok\n[-]cache failed: reason withheld\nreadyz check failed\n")
	f.ask("GET", "/livez?verbose").want(t, 200, "livez check passed\n")
	for _, path := range []string{"/readyz?verbose", "/internal/health", "/internal/health?format=json", "/internal/health?format=html"} {
		if a := f.ask("GET", path); strings.Contains(a.body, "hunter2") {
			t.Errorf("%s tells everybody why", path)
		}
	}
}
