package auth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// jws is a token in the compact serialisation of RFC 7515, of which nothing is
// verified yet.
type jws struct {
	raw      string
	alg, typ string
	kid      string
	hasKid   bool
	payload  []byte
}

// parseJWS reads a token more strictly than the RFCs ask for: what two parsers
// could read in two ways is refused. Keys and their addresses in the header (jwk,
// jku, x5c, x5u) are not looked at.
func parseJWS(raw string) (jws, error) {
	if len(raw) > maxToken {
		return jws{}, fmt.Errorf("%d bytes: at most %d are taken", len(raw), maxToken)
	}
	if strings.Count(raw, ".") != 2 {
		return jws{}, errors.New("no signed token: it has not three parts")
	}
	parts := strings.Split(raw, ".")
	var decoded [3][]byte
	for i, name := range [...]string{"header", "claims", "signature"} {
		var err error
		if decoded[i], err = decodePart(parts[i]); err != nil {
			return jws{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	header, err := parseObject(decoded[0])
	if err != nil {
		return jws{}, fmt.Errorf("header: %w", err)
	}
	t := jws{raw: raw, payload: decoded[1]}
	return t, t.readHeader(header)
}

// reading is what a token says, read when that is first asked for, and once for
// all authenticators. It is for one goroutine.
type reading struct {
	done  bool
	token jws
	said  claims
	err   error
}

func (r *reading) of(raw string) (jws, claims, error) {
	if !r.done {
		r.done = true
		r.err = r.parse(raw)
	}
	return r.token, r.said, r.err
}

func (r *reading) parse(raw string) (err error) {
	if r.token, err = parseJWS(raw); err != nil {
		return err
	}
	if r.said, err = parseObject(r.token.payload); err != nil {
		return fmt.Errorf("claims: %w", err)
	}
	return nil
}

// issuer says, for the log, whose token nobody takes.
func (r *reading) issuer(raw string) string {
	if _, said, err := r.of(raw); err == nil {
		return fmt.Sprintf(": it says that it is of issuer %.256q", fmt.Sprint(said["iss"]))
	}
	return ""
}

func (t *jws) readHeader(header map[string]any) error {
	for _, name := range []string{"crit", "b64"} {
		if _, ok := header[name]; ok {
			return fmt.Errorf("header: %s asks for an extension, and none is known", name)
		}
	}
	var ok bool
	if t.alg, ok = header["alg"].(string); !ok {
		return errors.New("header: no alg")
	}
	if kid, given := header["kid"]; given {
		if t.kid, ok = kid.(string); !ok || !isKeyID(t.kid) {
			return fmt.Errorf("header: kid %.80q: at most 64 letters, digits, dots, dashes and underscores are taken", fmt.Sprint(kid))
		}
		t.hasKid = true
	}
	if typ, given := header["typ"]; given {
		if t.typ, ok = typ.(string); !ok {
			return errors.New("header: typ is no string")
		}
	}
	return nil
}

// isKeyID tells whether a token may name a key so.
func isKeyID(s string) bool {
	return 0 < len(s) && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool { return !isBase64URL(r) && r != '.' })
}

func isBase64URL(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_'
}

var strictBase64 = base64.RawURLEncoding.Strict()

// decodePart decodes base64url without padding, in its one canonical form.
func decodePart(s string) ([]byte, error) {
	// The decoder passes over line ends.
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return !isBase64URL(r) }) {
		return nil, errors.New("no base64url")
	}
	data, err := strictBase64.DecodeString(s)
	if err != nil {
		return nil, errors.New("no canonical base64url")
	}
	return data, nil
}
