package main

import (
	"flag"
	"go/ast"
	"go/build/constraint"
	"go/format"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/pluginpb"
)

var update = flag.Bool("update", false, "write the golden files of testdata")

const goldenSuffix = ".golden"

func TestGolden(t *testing.T) {
	for _, c := range testCases(t) {
		t.Run(c.name, func(t *testing.T) {
			got := mustRespond(t, c.request(t, c.parameter, "paths=source_relative"))
			if *update {
				writeGoldens(t, c, got)
			}
			want := map[string]string{}
			for path, text := range c.files(t, goldenSuffix) {
				want[strings.TrimSuffix(path, goldenSuffix)] = text
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("run go test with -update to accept (-want +got):\n%s", diff)
			}
		})
	}
}

func writeGoldens(t *testing.T, c testCase, files map[string]string) {
	t.Helper()
	for path := range c.files(t, goldenSuffix) {
		if err := os.Remove(filepath.Join(c.dir, path)); err != nil {
			t.Fatal(err)
		}
	}
	for path, text := range files {
		if err := os.WriteFile(filepath.Join(c.dir, path+goldenSuffix), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// What holds for every file that the plugin emits.
func TestEveryFileIsSound(t *testing.T) {
	for _, c := range testCases(t) {
		t.Run(c.name, func(t *testing.T) {
			for name, text := range mustRespond(t, c.request(t, c.parameter)) {
				checkSound(t, name, text)
			}
		})
	}
}

func checkSound(t *testing.T, name, text string) {
	t.Helper()
	formatted, err := format.Source([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if diff := cmp.Diff(string(formatted), text); diff != "" {
		t.Errorf("%s is not gofmt-clean:\n%s", name, diff)
	}
	if !regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`).MatchString(text) {
		t.Errorf("%s does not say that it is generated", name)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return visible(r) != r }) {
		t.Errorf("%s holds characters that nobody sees", name)
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range file.Comments {
		for _, c := range group.List {
			checkComment(t, name, c.Text)
		}
	}
	for _, decl := range file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && !strings.HasPrefix(f.Doc.Text(), f.Name.Name+" ") {
			t.Errorf("%s: %s has no doc comment", name, f.Name)
		}
	}
}

// checkComment finds what the Go tools take for more than a comment, and lines
// that could have been broken.
func checkComment(t *testing.T, name, line string) {
	t.Helper()
	if line != "//" && !strings.HasPrefix(line, "// ") && !strings.HasPrefix(line, "//\t") {
		t.Errorf("%s: %q may be a directive", name, line)
	}
	if constraint.IsGoBuild(line) || constraint.IsPlusBuild(line) {
		t.Errorf("%s: %q is a build constraint", name, line)
	}
	if len(line) > 90 && strings.Count(line, " ") > 2 {
		t.Errorf("%s: %q is too long", name, line)
	}
}

// The request's order of files shows nowhere, and neither does buf's choice to
// run the plugin once a directory or once for all.
func TestOutputIsDeterministic(t *testing.T) {
	for _, c := range testCases(t) {
		t.Run(c.name, func(t *testing.T) {
			req := c.request(t, c.parameter)
			want := respond(req)

			slices.Reverse(req.FileToGenerate)
			slices.Reverse(req.ProtoFile)
			if diff := cmp.Diff(want.String(), respond(req).String()); diff != "" {
				t.Errorf("in another order:\n%s", diff)
			}

			all := mustRespond(t, req)
			single := map[string]string{}
			for _, paths := range byDirectory(req) {
				req.FileToGenerate = paths
				maps.Copy(single, mustRespond(t, overTheWire(t, req)))
			}
			if diff := cmp.Diff(all, single); diff != "" {
				t.Errorf("a directory at a time:\n%s", diff)
			}
		})
	}
}

func byDirectory(req *pluginpb.CodeGeneratorRequest) map[string][]string {
	dirs := map[string][]string{}
	for _, path := range req.FileToGenerate {
		dir := filepath.Dir(path)
		dirs[dir] = append(dirs[dir], path)
	}
	return dirs
}
