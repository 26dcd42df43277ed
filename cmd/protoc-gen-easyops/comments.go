package main

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Numbers of the fields of FileDescriptorProto to which the comments at the top
// of a file belong.
const (
	syntaxField  = 12
	editionField = 14
)

// headerComment is what stands at the top of a .proto file, such as a licence.
func headerComment(f *protogen.File) string {
	var parts []string
	for _, field := range []int32{syntaxField, editionField} {
		loc := f.Desc.SourceLocations().ByPath(protoreflect.SourcePath{field})
		for _, c := range append(loc.LeadingDetachedComments, loc.LeadingComments) {
			if text := clean(c); text != "" {
				parts = append(parts, text)
			}
		}
	}
	return strings.Join(parts, "\n\n")
}

// commentText is the comment of a declaration: the one above it, else the one
// behind it. Where the declaration is deprecated, a paragraph says so.
func commentText(c protogen.CommentSet, deprecated bool) string {
	text := clean(string(c.Leading))
	if text == "" {
		text = clean(string(c.Trailing))
	}
	if deprecated && deprecation(text) == "" {
		text = strings.TrimPrefix(text+"\n\nDeprecated: Do not use.", "\n\n")
	}
	return text
}

// deprecation is the paragraph of a comment by which Go tools know what is
// deprecated, or empty.
func deprecation(text string) string {
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		if strings.HasPrefix(paragraph, "Deprecated: ") {
			return paragraph
		}
	}
	return ""
}

// clean turns a comment, which may hold anything, into plain text: no characters
// that are not seen or change the order of others, no common indentation, no
// blank lines at the ends.
func clean(comment string) string {
	comment = strings.ToValidUTF8(comment, string(unicode.ReplacementChar))
	comment = strings.Map(visible, strings.ReplaceAll(comment, "\r\n", "\n"))
	lines := strings.Split(comment, "\n")
	for i, line := range lines {
		// In protobuf the space after "//" is part of the comment. The first line
		// of a block comment has it and those below do not.
		lines[i] = strings.TrimRight(strings.TrimPrefix(line, " "), " \t")
	}
	indent := commonIndent(lines)
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, indent)
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}

// oneLine is a text that has to fit a line.
func oneLine(text string) string {
	return strings.Join(strings.Fields(clean(text)), " ")
}

// visible keeps what a reader sees. The joiners among the format characters are
// part of words in some scripts; all others hide or reorder text.
func visible(r rune) rune {
	const zeroWidthNonJoiner, zeroWidthJoiner = '\u200c', '\u200d'
	switch {
	case r == '\n', r == '\t', r == zeroWidthNonJoiner, r == zeroWidthJoiner:
		return r
	case unicode.In(r, unicode.Zl, unicode.Zp):
		return ' '
	case unicode.In(r, unicode.Cc, unicode.Cf):
		return -1
	}
	return r
}

// unreadable says whether a name, which belongs on one line, holds characters
// that nobody sees.
func unreadable(name string) bool {
	return !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool {
		return unicode.IsControl(r) || visible(r) != r
	})
}

func commonIndent(lines []string) string {
	var indent string
	first := true
	for _, line := range lines {
		if line == "" {
			continue
		}
		own := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		if first {
			indent, first = own, false
		}
		for !strings.HasPrefix(own, indent) {
			indent = indent[:len(indent)-1]
		}
	}
	return indent
}
