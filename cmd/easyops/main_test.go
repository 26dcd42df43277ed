package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	easyopsv1 "github.com/go-easyops/easyops/proto/easyops/v1"
)

// call runs a command line and returns what it gave.
func call(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(args, strings.NewReader(""), &out, &err)
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
		{"version 2", 2, "", "takes no arguments"},
		{"prto", 2, "", `no command "prto"`},
		{"help prto", 2, "", `no command "prto"`},
		{"proto", 2, "", "name one directory"},
		{"proto a b", 2, "", "name one directory"},
		{"proto -x a", 2, "", "-x: run easyops help proto"},
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

	expect(0, "wrote ", "proto", dir)
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
