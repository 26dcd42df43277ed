package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// FileToken is the token of our own service, from a file that is read again when
// it changes. It is a [Source], its Token method a [TokenSource]; all methods
// may be called concurrently. It prints without the token.
type FileToken struct {
	watched[string]
}

// TokenFile reads the token from the file; space around it does not count, and
// it may have 8 KiB. What was read last stays in force while the file is missing,
// empty or holds no token. A nil log is slog.Default(); it is told once of each
// change, and if others than the file's owner may read it.
func TokenFile(path string, log *slog.Logger) (*FileToken, error) {
	file := &watchedFile{path: path, limit: maxToken + 2} // a newline may follow
	t := &FileToken{watched[string]{name: "service token", log: log, files: []*watchedFile{file}}}
	t.parse = func(time.Time) (string, SourceState, error) { return parseTokenFile(file) }
	if err := t.load(); err != nil {
		return nil, err
	}
	if mode := file.info.Mode().Perm(); mode&0o044 != 0 {
		t.log.Warn("others can read the service token: chmod 600 it", "err", fmt.Errorf("%s has mode %#o", path, mode))
	}
	return t, nil
}

// Token returns the token, after a look at the file where the last one is longer
// ago than a second. It is a [TokenSource].
func (t *FileToken) Token(context.Context) (string, error) { return t.fresh(), nil }

// String names the file and not the token.
func (t *FileToken) String() string { return "service token of " + t.where() }

// GoString keeps the token out of %#v.
func (t *FileToken) GoString() string { return t.String() }

func parseTokenFile(f *watchedFile) (string, SourceState, error) {
	token := string(bytes.TrimSpace(f.data))
	switch {
	case token == "":
		return "", SourceState{}, fmt.Errorf("%s: it is empty", f.path)
	case len(token) > maxToken:
		return "", SourceState{}, fmt.Errorf("%s: a token of %d bytes: at most %d are taken", f.path, len(token), maxToken)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", SourceState{}, fmt.Errorf("%s: it holds more than a token: there are spaces or special characters in it", f.path)
	}
	return token, describeToken(token), nil
}

// describeToken reads of a JWT what helps people. Nothing of it is verified,
// that is for whoever gets the token.
func describeToken(token string) SourceState {
	var claims struct {
		Subject string  `json:"sub"`
		Expires float64 `json:"exp"`
	}
	state := SourceState{What: "a token"}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return state
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return state
	}
	if claims.Subject != "" {
		state.What = fmt.Sprintf("a token of %.200q", claims.Subject)
	}
	if claims.Expires > 0 && claims.Expires < 1<<40 {
		state.Expires = time.Unix(int64(claims.Expires), 0)
	}
	return state
}
