package routes

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// parser collects the faults of a file.
type parser struct {
	name, dir string
	faults    []fault
	adminLine int
}

// fault is one, at its place.
type fault struct {
	line int
	text string
}

// maxFaults is how many are told. Who has that many has one cause for them.
const maxFaults = 50

// maxQuoted bounds what is repeated of the file.
const maxQuoted = 80

func (p *parser) fault(line int, key, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if key != "" {
		text = key + ": " + text
	}
	p.faults = append(p.faults, fault{line, text})
}

// err returns all faults in the order of the file.
func (p *parser) err() error {
	slices.SortStableFunc(p.faults, func(a, b fault) int { return cmp.Compare(a.line, b.line) })
	var errs []error
	for i, f := range p.faults {
		if i == maxFaults {
			errs = append(errs, fmt.Errorf("%s: and %d more", p.name, len(p.faults)-i))
			break
		}
		errs = append(errs, fmt.Errorf("%s:%d: %s", p.name, max(1, f.line), f.text))
	}
	return errors.Join(errs...)
}

// document returns the one mapping that a file consists of, or nil.
func (p *parser) document(text []byte) *yaml.Node {
	d := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		p.fault(1, "", "the file is empty: list routes under http, grpc or tcp")
		return nil
	case err != nil:
		p.syntax(err)
		return nil
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		if err != nil {
			p.syntax(err)
		} else {
			p.fault(more.Line, "", "a second document: put all into one")
		}
		return nil
	}
	return doc.Content[0]
}

// syntax takes the line out of an error such as "yaml: line 3: mapping values are
// not allowed in this context".
func (p *parser) syntax(err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		number, why, _ := strings.Cut(rest, ": ")
		if n, err := strconv.Atoi(number); err == nil {
			line, text = n, why
		}
	}
	p.fault(line, "", "this is not YAML: %s: look here and in the line before, at the indentation, the colons, and whether what begins with * or : is in quotes", text)
}

// key is one of a mapping, and what takes its value.
type key struct {
	name string
	take func(at string, value *yaml.Node)
}

// mapping takes a mapping apart. at is how it is called in faults, "" for the file.
func (p *parser) mapping(at string, n *yaml.Node, keys ...key) {
	if n = p.plain(at, n); n == nil {
		return
	}
	if n.Kind != yaml.MappingNode {
		p.fault(n.Line, at, "is %s: write keys and values, such as %s: …", kindOf(n), keys[0].name)
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		where := join(at, shorten(k.Value))
		known := slices.IndexFunc(keys, func(key key) bool { return k.Kind == yaml.ScalarNode && key.name == k.Value })
		switch first, twice := seen[k.Value]; {
		case known < 0:
			p.fault(k.Line, where, "is unknown: the keys here are %s", namesOf(keys))
		case twice:
			p.fault(k.Line, where, "stands in line %d already: keep one of them", first)
		default:
			seen[k.Value] = k.Line
			keys[known].take(where, v)
		}
	}
}

// list calls take for each element of a list.
func (p *parser) list(at string, n *yaml.Node, take func(at string, n *yaml.Node)) {
	if n = p.plain(at, n); n == nil {
		return
	}
	if n.Kind != yaml.SequenceNode {
		p.fault(n.Line, at, "is %s: write a list, each element after a dash or all in [ ]", kindOf(n))
		return
	}
	for i, e := range n.Content {
		take(fmt.Sprintf("%s[%d]", at, i), e)
	}
}

// text returns a scalar as it stands in the file, "" after a fault.
func (p *parser) text(at string, n *yaml.Node) string {
	if n = p.plain(at, n); n == nil {
		return ""
	}
	if n.Kind != yaml.ScalarNode {
		p.fault(n.Line, at, "is %s: write one value", kindOf(n))
		return ""
	}
	if n.Value == "" || n.Tag == "!!null" {
		p.fault(n.Line, at, "has no value: give it one, or leave the key out")
		return ""
	}
	return n.Value
}

// plain refuses what one part of a file borrows from another.
func (p *parser) plain(at string, n *yaml.Node) *yaml.Node {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		p.fault(n.Line, at, "uses an anchor or an alias (& or *): write the value out, in quotes where it begins with a *")
		return nil
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null" && n.Value == "":
		p.fault(n.Line, at, "has no value: give it one, or leave the key out")
		return nil
	}
	return n
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return fmt.Sprintf("the value %q", shorten(n.Value))
}

func namesOf(keys []key) string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	return strings.Join(names, ", ")
}

func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

// shorten returns what is repeated of the file, fit for one line.
func shorten(s string) string {
	if len(s) > maxQuoted {
		s = strings.ToValidUTF8(s[:maxQuoted], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
