package etcd

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/go-easyops/easyops/runtime/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParse(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "pw")
	write(t, secret, "geheim\n")
	for _, tt := range []struct {
		url  string
		want config
	}{
		{"etcd://h1", config{endpoints: "h1:2379", prefix: "easyops"}},
		{"etcd://h1:1,h2/", config{endpoints: "h1:1,h2:2379", prefix: "easyops"}},
		{"etcd://10.0.0.1:2379,[::1]:23,[::2]/team/a/", config{endpoints: "10.0.0.1:2379,[::1]:23,[::2]:2379", prefix: "team/a"}},
		{"etcd://ann%40x@localhost?password-file=" + secret, config{endpoints: "localhost:2379", prefix: "easyops", user: "ann@x", passwordFile: secret}},
		{"etcd://h?user=ann&password-file=" + secret + "&ca=system", config{endpoints: "h:2379", prefix: "easyops", user: "ann", passwordFile: secret, ca: "system"}},
		{"etcd://ann@h?insecure-plaintext=true&password-file=" + secret, config{endpoints: "h:2379", prefix: "easyops", user: "ann", passwordFile: secret, plaintext: true}},
	} {
		if got, err := parse(tt.url); err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v; want %+v", tt.url, got, err, tt.want)
		}
	}
}

func TestParseFaults(t *testing.T) {
	dir := t.TempDir()
	secret, empty := filepath.Join(dir, "pw"), filepath.Join(dir, "empty")
	write(t, secret, "geheim\n")
	write(t, empty, "\n")
	for url, want := range map[string][]string{
		"etcd:h":                      {"must be etcd://"},
		"etcd://":                     {"hosts", "host:port"},
		"etcd://h:99999":              {"the port must be"},
		"etcd://h1,,h2":               {"hosts"},
		"etcd://h/a//b":               {"prefix", "slashes"},
		"etcd://h/a b":                {"prefix"},
		"etcd://ann:pw@h":             {"password-file=PATH"},
		"etcd://ann:pw/geheim@h/x":    {"after the first / or ?", "password-file=PATH"},
		"etcd://ann:pw?geheim@h":      {"after the first / or ?", "password-file=PATH"},
		"etcd://h/a?user=a@b":         {"after the first / or ?", "%40"},
		"etcd://::1:2379":             {"in brackets: [::1]:2379"},
		"etcd://h,fe80::1":            {"in brackets"},
		"etcd://http://h:1":           {"drop http:// after etcd://"},
		"etcd://https://h:1":          {"drop https:// after etcd://", "ca=system"},
		"etcd://@h":                   {"the user before the @"},
		"etcd://ann@h":                {"needs a password-file"},
		"etcd://h?password-file=/x/y": {"a password-file a user", "/x/y"},
		"etcd://h?cert=/x/cert":       {"cert needs key"},
		"etcd://h?ca=/x/ca":           {"ca: open /x/ca"},
		"etcd://h?ca=" + secret:       {"holds no certificate"},
		"etcd://h?colour=red":         {`"colour" is unknown: use user, password-file, ca, cert, key`},
		"etcd://h?user=a&user=b":      {"said twice"},
		"etcd://ann@h?user=a":         {"said twice"},
		"etcd://h?user=":              {"empty"},
		"etcd://h?user=%zz":           {"not well escaped"},
		"etcd://ann@localhost?password-file=" + empty:        {"is empty"},
		"etcd://ann@h?password-file=" + secret:               {"plain text", "ca=system"},
		"etcd://h?insecure-plaintext=1":                      {"must be true or false"},
		"etcd://h:0/a b?x=y&cert=/n&password-file=/no/where": {"hosts", "prefix", `"x" is unknown`, "cert needs key", "a user", "/no/where"},
	} {
		_, err := Open(url, nil)
		if err == nil {
			t.Errorf("%s: no error", url)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: error %q does not say %q", url, err, w)
			}
		}
		if strings.Contains(err.Error(), "geheim") || strings.Contains(err.Error(), ":pw") {
			t.Errorf("%s: error %q tells a secret", url, err)
		}
	}
}

func TestOpenByURL(t *testing.T) {
	r, err := registry.Open("etcd://127.0.0.1:1/team", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, want := r.String(), "etcd registry at 127.0.0.1:1/team"; got != want {
		t.Errorf("named %q, want %q", got, want)
	}
	if at := r.LastAnswer(); !at.IsZero() {
		t.Errorf("an answer at %v", at)
	}
}

// TestShared holds that registries with one URL share a client, which ends with
// the last of them.
func TestShared(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	a, errA := Open("etcd://127.0.0.1:1", log)
	b, errB := Open("etcd://127.0.0.1:1/", log)
	c, errC := Open("etcd://127.0.0.1:1/other", log)
	if errA != nil || errB != nil || errC != nil {
		t.Fatal(errA, errB, errC)
	}
	if a.client != b.client || a.client == c.client {
		t.Error("not shared as it should be")
	}
	a.Close()
	a.Close()
	if n := len(clients.m); n != 2 {
		t.Errorf("%d clients", n)
	}
	b.Close()
	c.Close()
	if n := len(clients.m); n != 0 {
		t.Errorf("%d clients left", n)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
