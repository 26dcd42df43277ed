package status

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The help page shows what identity rests on, and what is wrong with it.
func TestIdentityOnTheHelpPage(t *testing.T) {
	now := time.Now()
	identity := Identity{
		Callers: "authenticated by mtls", Operators: "group:sre",
		Sources: []Source{
			{Name: "certificates", Where: "cert.pem, key.pem", What: "spiffe://a/b <script>", Since: now.Add(-time.Hour), Expires: now.Add(time.Hour)},
			{Name: "keys", Where: "keys.json", Err: errors.New("half a file")},
		},
	}
	p, err := New(Config{Operator: Anyone, Identity: func() Identity { return identity }})
	if err != nil {
		t.Fatal(err)
	}
	page := func(format string) string {
		w := httptest.NewRecorder()
		p.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost/internal/help?format="+format, nil))
		return w.Body.String()
	}

	html := page("html")
	for _, want := range []string{"Identity", "authenticated by mtls", "group:sre", "cert.pem, key.pem", "nothing yet", "half a file"} {
		if !strings.Contains(html, want) {
			t.Errorf("no %q on the page:\n%s", want, html)
		}
	}
	if strings.Contains(html, "<script>") {
		t.Error("a name is markup")
	}
	if text := page("text"); !strings.Contains(text, "half a file") {
		t.Errorf("text: %s", text)
	}
	var d struct{ Identity IdentityData }
	if err := json.Unmarshal([]byte(page("json")), &d); err != nil {
		t.Fatal(err)
	}
	s := d.Identity.Sources
	if len(s) != 2 || s[0].Error != "" || s[0].Expires == nil || s[1].Error != "half a file" || s[1].Since != nil || d.Identity.Operators != "group:sre" {
		t.Errorf("JSON: %+v", d)
	}
}

func TestToneOfAnExpiry(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for left, want := range map[time.Duration]Tone{-time.Second: Bad, 0: Bad, time.Hour: Warn, 71 * time.Hour: Warn, 100 * time.Hour: Normal} {
		for _, pair := range (Source{Expires: now.Add(left)}).pairs(now) {
			if pair.Name == "Expires" && pair.Value.Tone != want {
				t.Errorf("%v left: tone %v, want %v", left, pair.Value.Tone, want)
			}
		}
	}
}

// Who is refused is named in the log all the same, where that is known.
func TestWhoIsRefusedIsNamed(t *testing.T) {
	known := func(*http.Request) (string, error) { return "user bob", forbidden("bob is no operator") }
	p, err := New(Config{Operator: known})
	if err != nil {
		t.Fatal(err)
	}
	r := &Request{Request: request("127.0.0.1:1", "127.0.0.1:2", "localhost")}
	if err := p.checkAccess(nil, r, &Page{Access: Operator}); err == nil || r.Who != "user bob" {
		t.Errorf("%v, %q", err, r.Who)
	}
}
