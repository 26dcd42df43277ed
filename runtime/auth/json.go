package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// What anyone may make us read before a signature is looked at.
const (
	maxDepth  = 16  // of objects and lists in each other
	maxValues = 512 // in all of them together
)

// parseObject reads a JSON object and nothing else. A member that stands twice,
// at any depth, is an error: parsers differ in which they take (RFC 8725, 2.4).
// Numbers stay as they are written, and names are matched exactly.
func parseObject(data []byte) (map[string]any, error) {
	if !json.Valid(data) || !utf8.Valid(data) {
		return nil, errNoJSON
	}
	p := parser{rest: data}
	v, err := p.value(0)
	if err != nil {
		return nil, err
	}
	o, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("no JSON object")
	}
	return o, nil
}

var errNoJSON = errors.New("no JSON")

// parser reads JSON that is known to be valid, and counts its values. To do so
// by the tokens of encoding/json takes several times as long, and anyone can have us
// do it.
type parser struct {
	rest   []byte
	values int
}

func (p *parser) value(depth int) (any, error) {
	if p.values++; p.values > maxValues {
		return nil, fmt.Errorf("JSON of more than %d values", maxValues)
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("JSON deeper than %d", maxDepth)
	}
	switch p.next() {
	case '{':
		return p.members(depth)
	case '[':
		return p.elements(depth)
	case '"':
		return p.text()
	}
	return p.word()
}

// next returns what comes next, 0 for nothing. As the JSON is valid, what
// separates values says no more than space does.
func (p *parser) next() byte {
	p.rest = bytes.TrimLeft(p.rest, " \t\r\n,:")
	if len(p.rest) == 0 {
		return 0
	}
	return p.rest[0]
}

// ends tells whether an object or a list is over, and passes its end.
func (p *parser) ends(end byte) bool {
	if p.next() != end {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *parser) members(depth int) (map[string]any, error) {
	p.rest = p.rest[1:]
	members := map[string]any{}
	for !p.ends('}') {
		name, err := p.text()
		if err != nil {
			return nil, err
		}
		if _, ok := members[name]; ok {
			return nil, fmt.Errorf("member %.80q stands twice", name)
		}
		if members[name], err = p.value(depth + 1); err != nil {
			return nil, err
		}
	}
	return members, nil
}

func (p *parser) elements(depth int) ([]any, error) {
	p.rest = p.rest[1:]
	elements := []any{}
	for !p.ends(']') {
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		elements = append(elements, v)
	}
	return elements, nil
}

// text reads a string. It is unquoted by encoding/json where that is more than
// to leave the quotes out.
func (p *parser) text() (s string, err error) {
	end, escaped := 1, false
	for ; end < len(p.rest) && p.rest[end] != '"'; end++ {
		if p.rest[end] == '\\' {
			end, escaped = end+1, true
		}
	}
	if end >= len(p.rest) || p.rest[0] != '"' {
		return "", errNoJSON
	}
	quoted := p.rest[:end+1]
	p.rest = p.rest[end+1:]
	if escaped {
		return s, json.Unmarshal(quoted, &s)
	}
	return string(quoted[1:end]), nil
}

// word reads a number or a name.
func (p *parser) word() (any, error) {
	end := bytes.IndexAny(p.rest, " \t\r\n,]}")
	if end < 0 {
		end = len(p.rest)
	}
	word := string(p.rest[:end])
	p.rest = p.rest[end:]
	switch word {
	case "":
		return nil, errNoJSON
	case "true":
		return true, nil
	case "false":
		return false, nil
	case "null":
		return nil, nil
	}
	return json.Number(word), nil
}
