package main

import (
	"crypto/ed25519"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"

	"github.com/go-easyops/easyops/runtime/auth"
)

func newTestKey() (ed25519.PublicKey, ed25519.PrivateKey, error) { return ed25519.GenerateKey(nil) }

// write writes a file and the directories above it.
func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// verifyToken checks the signature with the keys that servers have, and returns
// what the token says.
func verifyToken(t testing.TB, keys, token string) (header jose.Header, c map[string]any) {
	t.Helper()
	parsed, err := jwt.ParseSigned(strings.TrimSuffix(token, "\n"), []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	header = parsed.Headers[0]
	set := keySet(t, keys)
	found := set.Key(header.KeyID)
	if len(found) != 1 {
		t.Fatalf("%d keys are named %q", len(found), header.KeyID)
	}
	if err := parsed.Claims(found[0], &c); err != nil {
		t.Fatal(err)
	}
	return header, c
}

func TestToken(t *testing.T) {
	keys := t.TempDir()
	mustCall(t, "keys", "new", keys)
	for _, test := range []struct {
		args string
		ttl  time.Duration
		want map[string]any
	}{
		{
			"--user alice --groups staff,ops --audience example --ttl 10m --name Alice --email alice@example.org", 10 * time.Minute,
			map[string]any{
				"iss": "easyops-users", "sub": "alice", "aud": "example", "client_id": "easyops",
				"name": "Alice", "email": "alice@example.org", "groups": []any{"staff", "ops"},
			},
		},
		{
			"--user alice --groups staff --groups ops --audience a --audience b --issuer https://example.org", time.Hour,
			map[string]any{"iss": "https://example.org", "sub": "alice", "aud": []any{"a", "b"}, "client_id": "easyops", "groups": []any{"staff", "ops"}},
		},
		{
			"--user alice --groups dev\t,\tstaff --audience a,\tb", time.Hour,
			map[string]any{"iss": "easyops-users", "sub": "alice", "aud": []any{"a", "b"}, "client_id": "easyops", "groups": []any{"dev", "staff"}},
		},
		{
			"--service billing --audience example --ttl 1d", 24 * time.Hour,
			map[string]any{"iss": "easyops-services", "sub": "billing", "aud": "example", "client_id": "billing"},
		},
	} {
		t.Run(test.args, func(t *testing.T) {
			begin := time.Now().Truncate(time.Second)
			code, stdout, stderr := call(append([]string{"token", "--keys", keys}, strings.Split(test.args, " ")...)...)
			if code != 0 || stderr != "" || strings.Count(stdout, "\n") != 1 || strings.ContainsAny(stdout, " \t") {
				t.Fatalf("code %d, %q, %q", code, stdout, stderr)
			}
			header, c := verifyToken(t, keys, stdout)
			if header.ExtraHeaders["typ"] != "at+jwt" || header.JSONWebKey != nil {
				t.Errorf("the header is %+v", header)
			}
			issued, expires := c["iat"].(float64), c["exp"].(float64)
			if c["nbf"] != issued || expires-issued != test.ttl.Seconds() || issued < float64(begin.Unix()) || issued > float64(time.Now().Unix()) {
				t.Errorf("iat %v, nbf %v, exp %v", issued, c["nbf"], expires)
			}
			if id, _ := c["jti"].(string); len(id) < 20 {
				t.Errorf("jti %q", id)
			}
			for _, name := range []string{"iat", "nbf", "exp", "jti"} {
				delete(c, name)
			}
			if diff := cmp.Diff(test.want, c); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTokensDiffer(t *testing.T) {
	keys := t.TempDir()
	mustCall(t, "keys", "new", keys)
	args := []string{"token", "--user", "alice", "--audience", "example", "--keys", keys}
	if first := mustCall(t, args...); first == mustCall(t, args...) {
		t.Error("two tokens are the same")
	}
}

func TestTokenThatIsRefused(t *testing.T) {
	keys := t.TempDir()
	mustCall(t, "keys", "new", keys)
	for _, test := range []struct {
		args string
		code int
		says string
	}{
		{"--audience a", 2, "either --user or --service"},
		{"--user a --service b --audience c", 2, "either --user or --service"},
		{"--user a", 2, "--audience is missing"},
		{"", 2, "--audience is missing"},
		{"--service a --groups b --audience c", 2, "--groups are of users"},
		{"--service a --email b --audience c", 2, "--email is of users"},
		{"--user a --audience b --groups x,,y", 2, `"" names nobody`},
		{"--user a\x1b[1m --audience b", 2, "names nobody"},
		{"--user " + strings.Repeat("a", 257) + " --audience b", 2, "names nobody"},
		{"--user a --audience b --ttl 0s", 2, "30m, 12h or 90d"},
		{"--user a --audience b --ttl -1h", 2, "30m, 12h or 90d"},
		{"--user a --audience b --ttl 999999d", 2, "290 years"},
		{"--user a --audience b --ttl", 2, "--ttl"},
		{"-user a --audience b", 2, "two dashes: --user"},
		{"-user=a --audience b", 2, "two dashes: --user"},
		{"alice", 2, "takes no arguments"},
		{"--user a --audience b --groups dev, staff", 2, `takes no arguments, and got "staff": quote values with spaces`},
		{"--user a --audience b --groups dev\tstaff", 2, "separate groups by commas"},
		{"--user --audience shop", 2, "token: --user has no value: --audience comes"},
		{"--user --audience=shop", 2, "--user has no value"},
		{"--user --audiense --audience shop", 2, "--user has no value"},
		{"--user a --groups --audience b", 2, "--groups has no value"},
		{"--user a --ttl --audience b", 2, "token: --ttl has no value"},
		{"--user a --audience b --keys KEYS/key.pem", 2, "--keys names the directory with the keys, such as " + keys},
		{"--user a --audience b --groups " + strings.Repeat("abcdefghij,", 800) + "z", 1, "name fewer groups"},
	} {
		args := append([]string{"token", "--keys", keys}, strings.Split(strings.ReplaceAll(test.args, "KEYS", keys), " ")...)
		if test.args == "" {
			args = args[:3]
		}
		if code, stdout, stderr := call(args...); code != test.code || stdout != "" || !strings.Contains(stderr, test.says) {
			t.Errorf("%.80q: code %d, %q, %.300q", test.args, code, stdout, stderr)
		}
	}
}

func TestTokenThatServersRefuse(t *testing.T) {
	keys := t.TempDir()
	mustCall(t, "keys", "new", keys)
	for ttl, warns := range map[string]bool{"24h": false, "25h": true, "30d": true} {
		code, stdout, stderr := call("token", "--user", "a", "--audience", "b", "--ttl", ttl, "--keys", keys)
		if code != 0 || stdout == "" || strings.Contains(stderr, "24h") != warns {
			t.Errorf("%s: code %d, %q", ttl, code, stderr)
		}
	}
}

// A token of another audience or kind is the negative control.
func TestTokenIsAccepted(t *testing.T) {
	keys := t.TempDir()
	mustCall(t, "keys", "new", keys)
	token := func(args ...string) string {
		return strings.TrimSpace(mustCall(t, append([]string{"token", "--keys", keys, "--name", "N"}, args...)...))
	}
	set := "jwks:" + filepath.Join(keys, jwksFile)
	authenticators, err := auth.OpenAll([]string{
		set + "?issuer=easyops-users&audience=example&use=user",
		set + "?issuer=easyops-services&audience=example&use=service",
	}, auth.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	alice := token("--user", "alice", "--groups", "staff", "--audience", "example")
	billing := token("--service", "billing", "--audience", "example")
	for _, test := range []struct {
		name      string
		presented auth.Presented
		user      string
		service   string
	}{
		{"user", auth.Presented{User: []string{"Bearer " + alice}}, "alice", ""},
		{"service", auth.Presented{User: []string{"Bearer " + billing}}, "", "billing"},
		{"both", auth.Presented{User: []string{"Bearer " + alice}, Service: []string{"Bearer " + billing}}, "alice", "billing"},
		{"user as service", auth.Presented{Service: []string{"Bearer " + alice}}, "", ""},
		{"another audience", auth.Presented{User: []string{"Bearer " + token("--user", "alice", "--audience", "other")}}, "", ""},
		{"another issuer", auth.Presented{User: []string{"Bearer " + token("--user", "alice", "--audience", "example", "--issuer", "x")}}, "", ""},
		{"too long a life", auth.Presented{User: []string{"Bearer " + token("--user", "alice", "--audience", "example", "--ttl", "25h")}}, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			caller, err := auth.Identify(t.Context(), test.presented, authenticators)
			if bad := test.user+test.service == ""; (err != nil) != bad {
				t.Fatalf("%v, %v", caller, err)
			}
			if got := id(caller.User); got != test.user {
				t.Errorf("user %q, want %q", got, test.user)
			}
			if got := id(caller.Service); got != test.service {
				t.Errorf("service %q, want %q", got, test.service)
			}
			if test.user != "" && (caller.User.Name != "N" || !cmp.Equal(caller.User.Groups, []string{"staff"})) {
				t.Errorf("the user is %+v", caller.User)
			}
		})
	}
}

func id(p *auth.Principal) string {
	if p == nil {
		return ""
	}
	return p.ID
}

func TestLifetime(t *testing.T) {
	for text, want := range map[string]string{"1h": "1h", "90m": "1h30m", "24h": "1d", "90d": "90d", "0.5d": "12h", "36h": "36h", "30s": "30s", "1h0m1s": "1h0m1s"} {
		var l lifetime
		if err := l.Set(text); err != nil || l.String() != want {
			t.Errorf("%s: %v, %v", text, &l, err)
		}
	}
	for _, text := range []string{"", "d", "1", "x", "-1d", "1dd", "107000d"} {
		var l lifetime
		if err := l.Set(text); err == nil {
			t.Errorf("%q is %v", text, &l)
		}
	}
}

func TestThumbprint(t *testing.T) {
	// RFC 8037, appendix A.3.
	var key jose.JSONWebKey
	text := `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}`
	if err := json.Unmarshal([]byte(text), &key); err != nil {
		t.Fatal(err)
	}
	got, err := signingKeyOf(key.Key.(ed25519.PrivateKey))
	if err != nil || got.id != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Errorf("%q, %v", got.id, err)
	}
}
