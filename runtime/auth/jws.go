package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
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

// parseObject reads a JSON object and nothing else. A member that stands twice,
// at any depth, is an error: parsers differ in which they take (RFC 8725, 2.4).
// Numbers stay as they are written, and names are matched exactly.
func parseObject(data []byte) (map[string]any, error) {
	if !json.Valid(data) || !utf8.Valid(data) {
		return nil, errors.New("no JSON")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := parseValue(d, 0)
	if err != nil {
		return nil, err
	}
	o, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("no JSON object")
	}
	return o, nil
}

const maxDepth = 16 // of objects and lists in each other

func parseValue(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch {
	case depth > maxDepth:
		return nil, fmt.Errorf("JSON deeper than %d", maxDepth)
	case t == json.Delim('{'):
		return parseMembers(d, depth)
	case t == json.Delim('['):
		return parseElements(d, depth)
	}
	return t, nil
}

func parseMembers(d *json.Decoder, depth int) (map[string]any, error) {
	members := map[string]any{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string)
		if _, ok := members[name]; ok {
			return nil, fmt.Errorf("member %.80q stands twice", name)
		}
		if members[name], err = parseValue(d, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := d.Token() // the closing brace
	return members, err
}

func parseElements(d *json.Decoder, depth int) ([]any, error) {
	elements := []any{}
	for d.More() {
		v, err := parseValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		elements = append(elements, v)
	}
	_, err := d.Token() // the closing bracket
	return elements, err
}
