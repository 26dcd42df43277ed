package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	easyopsv1 "github.com/go-easyops/easyops/proto/easyops/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// call runs a command line and returns what it gave.
func call(args ...string) (code int, stdout, stderr string) { return callWith("", args...) }

// callWith does it with a standard input.
func callWith(stdin string, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(args, strings.NewReader(stdin), &out, &err)
	return code, out.String(), err.String()
}

func TestRun(t *testing.T) {
	tests := []struct {
		args           string
		code           int
		stdout, stderr string // parts of what is written
	}{
		{"", 0, "easyops COMMAND", ""},
		{"help", 0, "proto [-f] DIR", ""},
		{"--help", 0, "version", ""},
		{"help proto", 0, "import \"easyops/v1/options.proto\";", ""},
		{"proto -h", 0, "replace a file that differs", ""},
		{"version", 0, "easyops ", ""},
		{"--version", 0, "easyops ", ""},
		{"version 2", 2, "", "takes no arguments, and got \"2\"\n"},
		{"prto", 2, "", `no command "prto"`},
		{"help prto", 2, "", `no command "prto"`},
		{"proto", 2, "", "name one directory"},
		{"proto a b", 2, "", "name one directory"},
		{"proto -x a", 2, "", "-x: run easyops help proto"},
		{"-help", 0, "token --user|--service ID", ""},
		{"-version", 0, "easyops ", ""},
		{"help", 0, "\n  help [COMMAND]   ", ""},
		{"", 0, "\n  help [COMMAND]   ", ""},
		{"help help", 0, "easyops help [COMMAND]", ""},
		{"help ca", 0, "ca issue --id NAME DIR", ""},
		{"help ca issue", 0, "for -easyops.tls-cert", ""},
		{"help keys new", 0, "OpenID Connect", ""},
		{"ca", 0, "SPIRE", ""},
		{"keys -h", 0, "keys rotate", ""},
		{"completion", 0, "zsh", ""},
		{"completion tcsh", 2, "", ""},
		{"completion bash x", 2, "", ""},
		{"tken", 2, "", "did you mean token?"},
		{"ca isue", 2, "", "did you mean issue?"},
		{"help ca isue", 2, "", `no command "ca isue"`},
		{"access --against", 2, "", "needs an argument"},
	}
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			code, stdout, stderr := call(strings.Fields(test.args)...)
			if code != test.code || !strings.Contains(stdout, test.stdout) || !strings.Contains(stderr, test.stderr) {
				t.Errorf("code %d\nstdout %q\nstderr %q", code, stdout, stderr)
			}
			if wrong := code != 0; wrong != (stderr != "") || wrong != (stdout == "") {
				t.Errorf("code %d goes with stdout %q, stderr %q", code, stdout, stderr)
			}
		})
	}
}

// TestHelp looks at the help of each command: what it is for, and examples that
// it takes itself.
func TestHelp(t *testing.T) {
	for _, c := range leaves(rootCommand(nil, io.Discard, io.Discard)) {
		if c.Name() == "help" || c.Name() == "completion" || c.Name() == "version" {
			continue
		}
		name := words(c)
		t.Run(name, func(t *testing.T) {
			text := mustCall(t, append([]string{"help"}, strings.Fields(name)...)...)
			short := mustCall(t, append(strings.Fields(name), "--help")...)
			if text != short {
				t.Errorf("help and --help differ:\n%s\n%s", text, short)
			}
			for _, part := range []string{c.Short, "Usage: easyops " + name, "Examples:\n  ", "Flags:\n  ", "--help"} {
				if !strings.Contains(text, part) {
					t.Errorf("%q is missing in\n%s", part, text)
				}
			}
			for line := range strings.Lines(text) {
				if len(strings.TrimRight(line, "\n")) > helpWidth {
					t.Errorf("%q is longer than %d", line, helpWidth)
				}
			}
			checkExamples(t, c.Example)
		})
	}
}

// checkExamples parses the command lines of examples.
func checkExamples(t *testing.T, examples string) {
	t.Helper()
	for line := range strings.Lines(examples) {
		at := strings.Index(line, "easyops ")
		line, _, _ = strings.Cut(line[at:], ")") // of $( )
		line, _, _ = strings.Cut(line, " > ")
		c, rest, err := rootCommand(nil, io.Discard, io.Discard).Find(strings.Fields(line)[1:])
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if err := c.ParseFlags(rest); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if c.Args == nil {
			continue
		}
		if err := c.Args(c, c.Flags().Args()); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "fish", "powershell", "zsh"} {
		if script := mustCall(t, "completion", shell); !strings.Contains(script, "__complete") {
			t.Errorf("%s: %q", shell, script)
		}
	}
	for line, want := range map[string]string{
		"":                 "token\tMake a token",
		"ca ":              "issue\tIssue",
		"help ":            "keys\tKeys",
		"help h":           "help\tExplain",
		"help ca ":         "new\tMake",
		"access --format ": "json\n",
		"access ":          "proto\n:8",
		"keys new ":        ":16",
		"keys new a ":      ":4",
		"token --us":       "--user\tID of the user",
	} {
		got := mustCall(t, append([]string{"__complete"}, strings.Split(line, " ")...)...)
		if !strings.Contains(got, want) || strings.Contains(got, "`") || strings.Contains(got, "__") {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

func TestProto(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	path := filepath.Join(dir, "easyops", "v1", "options.proto")
	content := func() string {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	expect := func(code int, says string, args ...string) {
		t.Helper()
		got, stdout, stderr := call(args...)
		if got != code || !strings.Contains(stdout+stderr, says) || !strings.Contains(stdout+stderr, path) {
			t.Errorf("easyops %q: code %d, %q %q", args, got, stdout, stderr)
		}
	}

	expect(0, "made "+dir+"\nwrote ", "proto", dir)
	if content() != easyopsv1.Source() {
		t.Error("what was written is not the source")
	}
	expect(0, "is up to date", "proto", dir)

	const own = "// mine\n"
	if err := os.WriteFile(path, []byte(own), 0o644); err != nil {
		t.Fatal(err)
	}
	expect(1, "-f replaces it", "proto", dir)
	if content() != own {
		t.Error("a file that differs was overwritten")
	}
	expect(0, "replaced ", "proto", dir, "-f")
	if content() != easyopsv1.Source() {
		t.Error("the file was not replaced")
	}
}

func TestProtoThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := call("proto", file); code != 1 || !strings.Contains(stderr, file) {
		t.Errorf("code %d, %q", code, stderr)
	}
}

func TestArgumentsAfterDashesAreNoFlags(t *testing.T) {
	t.Chdir(t.TempDir())
	if code, _, stderr := call("proto", "--", "-f"); code != 0 {
		t.Fatal(stderr)
	}
	if _, err := os.Stat(filepath.Join("-f", "easyops", "v1", "options.proto")); err != nil {
		t.Error(err)
	}
}

// What commands do stands in one column, however long their names.
func TestHelpColumn(t *testing.T) {
	_, list, _ := strings.Cut(mustCall(t, "help"), "Commands:\n")
	if !regexp.MustCompile(`\n  help \[COMMAND\] +Explain a command\.\n`).MatchString(list) {
		t.Error(list)
	}
	list, _, _ = strings.Cut(list, "\n\n")
	column := 0
	for line := range strings.Lines(list) {
		at := strings.LastIndex(strings.TrimSpace(line), "  ") + 4
		if column == 0 {
			column = at
		}
		if at != column || column > 40 {
			t.Errorf("column %d, not %d: %s", at, column, line)
		}
	}
}
