package templates

import (
	"strings"
	"unicode/utf8"
)

const (
	width       = 77 // runes of a comment's line after "// "
	deprecation = "Deprecated: Do not use."
)

// header is a text as comments of its own, apart from what follows.
func header(text string) string {
	if text == "" {
		return ""
	}
	return comment(text) + "\n"
}

// doc continues a doc comment with the paragraphs of a text and, where they do
// not say it already, with a deprecation.
func doc(text string, deprecated bool) string {
	if deprecated && !strings.Contains("\n"+text, "\nDeprecated: ") {
		text = strings.TrimPrefix(text+"\n\n"+deprecation, "\n\n")
	}
	if text == "" {
		return ""
	}
	return "//\n" + comment(text)
}

// comment is a text as line comments. There is a space after each "//", without
// which the line could be a directive, and no line reads as a build constraint,
// which needs no more than that.
func comment(text string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(text, "\n") {
		for _, part := range wrap(line) {
			if strings.HasPrefix(strings.TrimSpace(part), "+build") {
				part = strings.Replace(part, "+build", `"+build"`, 1)
			}
			b.WriteString(strings.TrimRight("// "+part, " \t"))
			b.WriteString("\n")
		}
	}
	return b.String()
}

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
