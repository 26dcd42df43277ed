package main

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"
)

// checkImportPath says why Go does not import a package by a path. The rules
// are those of CheckImportPath in golang.org/x/mod/module, and those of the go
// command for directories that it builds and for vendored packages.
func checkImportPath(p string) error {
	switch {
	case p == "":
		return errors.New("the import path is empty: write one such as example.com/project/gen/echo")
	case !strings.ContainsAny(p, "./"):
		return fmt.Errorf("%q is not an import path: write one such as example.com/project/gen/%s", p, p)
	case path.Clean(p) != p || strings.HasPrefix(p, ".") || strings.HasPrefix(p, "/"):
		return fmt.Errorf("%q is not an import path: write it whole, without dots or a slash at its ends", p)
	}
	if strings.HasPrefix(p, "internal/") {
		return fmt.Errorf("%q is not an import path: write it whole, with the name of its module before internal", p)
	}
	for elem := range strings.SplitSeq(p, "/") {
		if rule := elementRule(elem); rule != "" {
			return fmt.Errorf("%q is not an import path: Go does not allow %s", p, rule)
		}
	}
	switch last := path.Base(p); {
	case strings.HasPrefix(p, "-") || !safeStart(last):
		return fmt.Errorf("%q is not an import path: Go does not allow %q at the beginning of its last part", p, last[:1])
	case strings.HasPrefix(p, "vendor/") || strings.Contains(p, "/vendor/"):
		return fmt.Errorf("%q is not an import path: Go does not allow packages below a directory vendor", p)
	}
	return nil
}

// device matches the names that Windows keeps for itself.
var device = regexp.MustCompile(`(?i)^(con|prn|aux|nul|com[1-9]|lpt[1-9])$`)

// elementRule is the rule that an element of an import path breaks, or empty.
func elementRule(elem string) string {
	for _, r := range elem {
		if !isASCIIAlphanumeric(r) && !strings.ContainsRune("-._~+", r) {
			return fmt.Sprintf("the character %q there: only ASCII letters, digits, and any of -._~+", r)
		}
	}
	short, _, _ := strings.Cut(elem, ".")
	tilde := strings.LastIndexByte(short, '~')
	switch {
	case strings.HasSuffix(elem, "."):
		return fmt.Sprintf("the dot at the end of %q", elem)
	case device.MatchString(short):
		return fmt.Sprintf("%q there, which is the name of a device on Windows", short)
	case tilde >= 0 && tilde+1 < len(short) && strings.Trim(short[tilde+1:], "0123456789") == "":
		return fmt.Sprintf("%q there, which looks like a short name of Windows", short)
	}
	return ""
}

func isASCIIAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// safeStart says whether the go command takes a file or directory of that name:
// it keeps what might be a flag away from the compiler.
func safeStart(name string) bool {
	c := rune(name[0])
	return isASCIIAlphanumeric(c) || c == '.' || c == '_' || c >= utf8.RuneSelf
}

// internalTo is the root of the packages that may import an internal one
// (https://go.dev/s/go14internal). The last of several directories internal
// counts.
func internalTo(importPath string) (root string, ok bool) {
	elems := strings.Split(importPath, "/")
	for i := len(elems) - 1; i > 0; i-- {
		if elems[i] == "internal" {
			return strings.Join(elems[:i], "/"), true
		}
	}
	return "", false
}

// within says whether an import path is a root or below it.
func within(importPath, root string) bool {
	return importPath == root || strings.HasPrefix(importPath, root+"/")
}
