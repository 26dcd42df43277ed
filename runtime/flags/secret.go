package flags

import (
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Redacted is what stands in place of a secret.
const Redacted = "REDACTED"

// secretWords give a secret away in names.
var secretWords = []string{"token", "key", "secret", "passw", "passphrase", "credential"}

// fileWords are what files with secrets are named for.
var fileWords = []string{"token", "key", "secret", "password", "passphrase", "credential"}

// The patterns are compiled when they are needed, because few programs that start
// need them.
var (
	// The URL's part before the last "@", however it is written.
	userInfo = pattern(`://\S*@`)
	driver   = pattern(`[^\s/:@]+:\S*@(tcp|unix)\(`) // go-sql-driver's, which are no URLs
	assigned = pattern(`(?i)([\w-]*(?:token|key|secret|pass|pwd|credential|signature|\bsig)[\w-]*\s?=\s?)` + quotedOrWord)
	member   = pattern(`(?i)("[\w-]*(?:token|key|secret|pass|pwd|credential|signature)[\w-]*"\s*:\s*)` + quotedOrWord)
	named    = pattern(`(?i)((?:password|passwd|passphrase|secret)\s*:\s*)` + quotedOrWord)
	header   = pattern(`(?i)((?:bearer|basic)\s+)[^\s"',]+`)
)

// quotedOrWord is a value in quotes, or what comes before a space or the next pair of a
// query.
const quotedOrWord = `(?:"[^"]*"?|'[^']*'?|[^&\s]+)`

func pattern(s string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(s) })
}

func hasSecretWord(s string) bool {
	s = strings.ToLower(s)
	return slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(s, word) })
}

// soundsSecret tells whether a flag with the name holds a secret, as far as one
// can tell.
func soundsSecret(name string) bool {
	return hasSecretWord(name) && !namesFile(name)
}

// namesFile tells whether a name is that of a file with a secret, such as
// "tls-keys-file": it is named by no secret.
func namesFile(name string) bool {
	name = strings.ToLower(name)
	for _, kind := range []string{"file", "path", "dir"} {
		of, ok := strings.CutSuffix(name, kind)
		if !ok {
			continue
		}
		if n := len(of); n > 0 && strings.IndexByte("-_.", of[n-1]) >= 0 {
			of = of[:n-1]
		}
		of = strings.TrimSuffix(of, "s")
		return slices.ContainsFunc(fileWords, func(word string) bool { return strings.HasSuffix(of, word) })
	}
	return false
}

// Redact takes out of a text that is shown what looks like a secret: the user and
// password of a URL, what is assigned to such names as password or token, and what a
// header authorization has. It knows the usual spellings and no others: a secret has no
// place in such a text.
func Redact(text string) string {
	if !mayHaveSecret(text) {
		return text
	}
	text = userInfo().ReplaceAllString(text, "://"+Redacted+"@")
	text = driver().ReplaceAllString(text, Redacted+"@$1(")
	for _, pair := range []func() *regexp.Regexp{assigned, member, named, header} {
		text = pair().ReplaceAllString(text, "${1}"+Redacted)
	}
	return text
}

// mayHaveSecret tells, cheaply, that most texts have none.
func mayHaveSecret(text string) bool {
	if strings.Contains(text, "@") {
		return true
	}
	lower := strings.ToLower(text)
	return slices.ContainsFunc(secretHints, func(hint string) bool { return strings.Contains(lower, hint) })
}

var secretHints = []string{"token", "key", "secret", "pass", "pwd", "credential", "sig", "bearer", "basic"}
