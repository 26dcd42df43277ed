package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// canary is a token that must be seen nowhere.
const canary = "c4n4ry-c4n4ry-c4n4ry"

func newTokenFile(t *testing.T, content string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "token")
	overwrite(t, path, []byte(content))
	return path
}

func wantToken(t *testing.T, tok *FileToken, want string) {
	t.Helper()
	if got, err := tok.Token(context.Background()); got != want || err != nil {
		t.Errorf("got %.20q (%d bytes), %v, want %.20q", got, len(got), err, want)
	}
}

func TestTokenFile(t *testing.T) {
	long := strings.Repeat("x", maxToken)
	for content, want := range map[string]string{
		"abc": "abc", "abc\n": "abc", " abc\r\n": "abc", "a.b-c_d~e+f/g=\n": "a.b-c_d~e+f/g=", long + "\n": long,
	} {
		tok, err := TokenFile(newTokenFile(t, content), nil)
		if err != nil {
			t.Errorf("%.20q: %v", content, err)
			continue
		}
		wantToken(t, tok, want)
	}
	for content, want := range map[string]string{
		"": "empty", " \n": "empty", "two\nlines": "more than a token", "two words": "more than a token", "n\x00l": "more than a token",
		"ä": "more than a token", long + "x\n": "at most 8192", long + long: "longer than",
	} {
		if _, err := TokenFile(newTokenFile(t, content), nil); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "token:") {
			t.Errorf("%.20q: %v, want %q", content, err, want)
		}
	}
	if _, err := TokenFile(filepath.Join(t.TempDir(), "none"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestTokenFileChanges(t *testing.T) {
	path, log := newTokenFile(t, "one\n"), &logLines{}
	tok, err := TokenFile(path, log.logger())
	if err != nil {
		t.Fatal(err)
	}
	step := func(want string, wantLevels ...string) {
		t.Helper()
		for range 3 {
			age(&tok.watched) // as nobody calls Refresh
			wantToken(t, tok, want)
		}
		if levels, text := log.take(t); !slices.Equal(levels, wantLevels) {
			t.Errorf("log: %s, want %v", text, wantLevels)
		}
	}
	step("one")
	replace(t, path, []byte("two"))
	wantToken(t, tok, "one") // it was just looked at
	step("two", "INFO")
	overwrite(t, path, nil)
	step("two", "ERROR")
	if err := tok.State().Err; err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("state: %v", err)
	}
	os.Remove(path)
	step("two", "ERROR")
	overwrite(t, path, []byte("three"))
	step("three", "INFO", "INFO")
	if err := tok.State().Err; err != nil {
		t.Errorf("state: %v", err)
	}
}

// A pipe, or whatever else there may be in the file's place, blocks nobody.
func TestTokenFileIsAPipe(t *testing.T) {
	path := newTokenFile(t, "one")
	tok, err := TokenFile(path, (&logLines{}).logger())
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(path)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		long := time.Now().Add(-time.Hour)
		tok.looked.Store(&long)
		wantToken(t, tok, "one")
		if err := tok.State().Err; !matches(err, "no regular file") {
			t.Errorf("state: %v", err)
		}
	}
	if _, err := TokenFile(path, nil); !matches(err, "no regular file") {
		t.Errorf("a new one: %v", err)
	}
	os.Remove(path)
	overwrite(t, path, []byte("two"))
	tok.Refresh(time.Now())
	wantToken(t, tok, "two")
}

// A look that hangs holds up nobody else.
func TestTokenFileThatHangs(t *testing.T) {
	path := newTokenFile(t, "one")
	tok, err := TokenFile(path, (&logLines{}).logger())
	if err != nil {
		t.Fatal(err)
	}
	replace(t, path, []byte("two"))
	long := time.Now().Add(-time.Hour)
	tok.looked.Store(&long)
	tok.mu.Lock() // as of who looks
	wantToken(t, tok, "one")
	tok.mu.Unlock()
	wantToken(t, tok, "two")
}

func TestTokenFileThatOthersCanRead(t *testing.T) {
	for mode, want := range map[os.FileMode][]string{0o600: nil, 0o400: nil, 0o640: {"WARN"}, 0o604: {"WARN"}} {
		path, log := newTokenFile(t, canary), &logLines{}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		tok, err := TokenFile(path, log.logger())
		if err != nil {
			t.Fatal(err)
		}
		tok.Refresh(time.Now())
		if levels, text := log.take(t); !slices.Equal(levels, want) {
			t.Errorf("mode %v: %s", mode, text)
		}
	}
}

// jwt is a token whose signature is none.
func jwt(payload string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"EdDSA"}`)) + "." + encode([]byte(payload)) + "." + canary
}

func TestTokenFileState(t *testing.T) {
	end := time.Now().Add(time.Hour).Truncate(time.Second)
	for token, want := range map[string]SourceState{
		canary: {What: "a token"},
		jwt(fmt.Sprintf(`{"sub":"billing","exp":%d}`, end.Unix())): {What: `a token of "billing"`, Expires: end},
		jwt(`{"sub":"bill\ning\u202e"}`):                           {What: `a token of "bill\ning\u202e"`},
		jwt(`{"exp":1e300}`):                                       {What: "a token"},
		jwt(`{"exp":"soon"}`):                                      {What: "a token"},
		jwt(`[]`):                                                  {What: "a token"},
		"a.!." + canary:                                            {What: "a token"},
	} {
		tok, err := TokenFile(newTokenFile(t, token), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := tok.State(); got.What != want.What || !got.Expires.Equal(want.Expires) || got.Name != "service token" {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

// A token that has expired is said to have, once, and used all the same: it is
// for its receiver to judge.
func TestTokenFileExpired(t *testing.T) {
	log, token := &logLines{}, jwt(`{"exp":1000}`)
	tok, err := TokenFile(newTokenFile(t, token), log.logger())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		tok.Refresh(time.Now())
	}
	wantToken(t, tok, token)
	if err := tok.State().Err; err == nil || !strings.Contains(err.Error(), "expired at 1970") {
		t.Errorf("state: %v", err)
	}
	if levels, text := log.take(t); !slices.Equal(levels, []string{"ERROR"}) || strings.Contains(text, canary) {
		t.Errorf("log: %s", text)
	}
}

// The token is in neither logs nor states nor errors.
func TestTokenIsSeenNowhere(t *testing.T) {
	path, log := newTokenFile(t, canary), &logLines{}
	overwrite(t, path, []byte(canary))
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	tok, err := TokenFile(path, log.logger())
	if err != nil {
		t.Fatal(err)
	}
	var seen bytes.Buffer
	for _, content := range []string{jwt(`{"exp":1}`), canary + " " + canary, canary + strings.Repeat(canary, 1000), canary + "2"} {
		replace(t, path, []byte(content))
		tok.Refresh(time.Now())
		log.logger().Info("x", "token", tok, "state", tok.State())
		fmt.Fprintf(&seen, "%v %+v %#v %+v %v\n", tok, tok, tok, tok.State(), tok.State().Err)
	}
	_, text := log.take(t)
	if all := text + seen.String(); strings.Contains(all, canary) || strings.Contains(all, fmt.Sprintf("%d", []byte(canary))) {
		t.Errorf("the token is in:\n%s", all)
	}
}
