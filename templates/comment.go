package templates

import (
	"strings"
	"unicode/utf8"
)

// width is that of a comment's line after "// ", in runes.
const width = 77

// header is a text as comments of its own, apart from what follows.
func header(text string) string {
	if text == "" {
		return ""
	}
	return comment(text) + "\n"
}

// doc continues a doc comment with the paragraphs of a text.
func doc(text string) string {
	if text == "" {
		return ""
	}
	return "//\n" + comment(text)
}

// comment is a text as line comments. There is a space after each "//", without
// which the line could be a directive. The old form of build constraints has
// that space; go vet looks for it anywhere in the comments at the top.
func comment(text string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(text, "\n") {
		for _, part := range wrap(line) {
			b.WriteString(strings.TrimRight("// "+harmless(part), " \t"))
			b.WriteString("\n")
		}
	}
	return b.String()
}

// harmless is a text without what go vet takes for a build constraint.
func harmless(text string) string { return strings.ReplaceAll(text, "+build", "+ build") }

// wrap breaks a line that is too long between its words. An indented line is
// preformatted and stays whole.
func wrap(line string) []string {
	if utf8.RuneCountInString(line) <= width || strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
		return []string{line}
	}
	var parts []string
	var part string
	room := 0
	for _, word := range strings.Fields(line) {
		n := utf8.RuneCountInString(word)
		if part != "" && n+1 > room {
			parts, part = append(parts, part), ""
		}
		if part == "" {
			part, room = word, width-n
			continue
		}
		part, room = part+" "+word, room-n-1
	}
	return append(parts, part)
}
