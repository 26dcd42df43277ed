// Package mistakes makes the mistakes that docs/identity.md lists, and sees that
// they lead to the messages that stand there, and that the cures are cures.
package mistakes

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// mistake is one that the documentation lists.
type mistake struct {
	title string
	says  said
}

// said is what becomes known of a mistake: "start", "caller" and "log", as the
// documentation calls them. What ends well says nothing.
type said map[string]string

// The documentation, and the parts of it that are read.
const page = "../../docs/identity.md"

var (
	heading = regexp.MustCompile(`(?m)^### \d+\. (.*)$`)
	block   = regexp.MustCompile("(?s)```\n(.*?)```")
)

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// documented returns the mistakes of the documentation.
func documented(t *testing.T) (all []mistake) {
	t.Helper()
	_, text, found := strings.Cut(read(t, page), "\n## Ten likely mistakes\n")
	if !found {
		t.Fatal("the documentation lists no mistakes")
	}
	titles := heading.FindAllStringSubmatchIndex(text, -1)
	for i, at := range titles {
		end := len(text)
		if i+1 < len(titles) {
			end = titles[i+1][0]
		}
		m := mistake{title: text[at[2]:at[3]], says: said{}}
		messages := block.FindStringSubmatch(text[at[1]:end])
		if messages == nil {
			t.Fatalf("%s: there is no message", m.title)
		}
		for line := range strings.Lines(messages[1]) {
			kind, message, _ := strings.Cut(strings.TrimSpace(line), ": ")
			m.says[kind] = message
		}
		all = append(all, m)
	}
	return all
}

// matches tells whether a message holds what is documented, in which "…" stands
// for what differs. Text within the text of an error has its quotes escaped.
func matches(message, documented string) bool {
	message = strings.ReplaceAll(message, `\"`, `"`)
	for part := range strings.SplitSeq(documented, "…") {
		_, rest, found := strings.Cut(message, part)
		if !found {
			return false
		}
		message = rest
	}
	return true
}

func TestMatches(t *testing.T) {
	for _, test := range []struct {
		message, documented string
		want                bool
	}{
		{"it is 1 of 2", "it is … of …", true},
		{"error: it is 1 of 2.", "it is … of 2", true},
		{`desc = "it is of \"x\""`, `it is of "…"`, true},
		{"it is 1", "it is … of …", false},
		{"of it is", "it is … of", false},
		{"", "it", false},
	} {
		if got := matches(test.message, test.documented); got != test.want {
			t.Errorf("matches(%q, %q) = %v", test.message, test.documented, got)
		}
	}
}

// TestAuthenticator: the authenticator of the documentation is the one that is
// compiled and run.
func TestAuthenticator(t *testing.T) {
	_, text, _ := strings.Cut(read(t, page), "\n## An authenticator of your own\n")
	_, text, _ = strings.Cut(text, "```go\n")
	code, _, found := strings.Cut(text, "```")
	if !found || !strings.Contains(read(t, "../../runtime/auth/example_test.go"), code) {
		t.Errorf("this is not in runtime/auth/example_test.go:\n%s", code)
	}
}

// TestCommands runs the commands of the documentation, each page's in a
// directory of its own.
func TestCommands(t *testing.T) {
	easyops := program(t, "./cmd/easyops")
	for _, file := range []string{page, "../../docs/tls.md"} {
		text, ran := read(t, file), 0
		dir := t.TempDir()
		for line := range strings.Lines(text) {
			command, found := strings.CutPrefix(line, "go tool easyops ")
			if !found {
				continue
			}
			command, _, _ = strings.Cut(command, "#")
			run := exec.Command(easyops, strings.Fields(command)...)
			run.Dir = dir
			if out, err := run.CombinedOutput(); err != nil {
				t.Errorf("%s: easyops %s: %v\n%s", file, command, err, out)
			}
			ran++
		}
		if ran == 0 {
			t.Errorf("%s has no commands", file)
		}
	}
}
