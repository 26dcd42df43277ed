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

// The patterns are compiled when they are needed, because few programs that start
// need them.
var (
	// A file that holds a secret is named by no secret.
	fileName = pattern(`(?i)(token|key|secret|password|passphrase|credential)s?[-_.]?(file|path|dir)$`)
	// The URL's part before the last "@", however it is written.
	userInfo = pattern(`://\S*@`)
	pair     = pattern(`(?i)([\w-]*(?:` + strings.Join(secretWords, "|") + `)[\w-]*=)[^&,;\s]+`)
)

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
	return hasSecretWord(name) && !fileName().MatchString(name)
}

// Redact takes out of a value that is shown what looks like a secret: the user
// and password of a URL, and what is assigned to such names as password or token
// in a query.
func Redact(value string) string {
	if strings.Contains(value, "://") && strings.Contains(value, "@") {
		value = userInfo().ReplaceAllString(value, "://"+Redacted+"@")
	}
	if strings.Contains(value, "=") && hasSecretWord(value) {
		value = pair().ReplaceAllString(value, "${1}"+Redacted)
	}
	return value
}
