package templates_test

import (
	"go/format"
	"strings"
	"testing"

	"github.com/go-easyops/easyops/templates"
)

func execute(t *testing.T, f templates.File) string {
	t.Helper()
	var b strings.Builder
	if err := templates.Execute(&b, f); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestExecute(t *testing.T) {
	text := execute(t, templates.File{
		Header:  "Licence.\n\n+build never",
		Source:  "echo.proto",
		Package: "echo",
		Example: "EchoServer",
		Runtime: templates.Runtime{
			Version: "rt.V1", Service: "rt.Service", Bind: "rt.Bind", Comments: "rt.Comments",
			Start: "rt.Start", Main: "rt.Main", Server: "rt.Server", ServerOption: "rt.ServerOption",
			Dial: "rt.Dial", Conn: "rt.Conn", DialOption: "rt.DialOption",
		},
		Services: []templates.Service{{
			FullName: "echo.Echo",
			Comment:  "Echo " + strings.Repeat("says it again ", 20),
			Comments: []templates.Comment{{Text: "One\ntwo."}, {Name: "Call", Text: "Calls \"it\"."}},
			Start:    "StartEchoServer", Bind: "BindEchoServer", Dial: "DialEcho",
			Server: "EchoServer", Register: "RegisterEchoServer", Client: "EchoClient", NewClient: "NewEchoClient",
			Local: templates.Local{Impl: "impl", Opts: "opts", Conn: "conn", Err: "err"},
		}},
	})
	if _, err := format.Source([]byte(text)); err != nil {
		t.Error(err)
	}
	for _, want := range []string{
		"// Licence.\n//\n// + build never\n\n// Code generated",
		"// source: echo.proto\n\npackage echo\n",
		"const _ = rt.V1\n",
		"again\n// says",
		"\"\": \"One\\n\" +\n\"two.\",",
		`"Call": "Calls \"it\".",`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestExecuteOfADeprecatedFile(t *testing.T) {
	text := execute(t, templates.File{Source: "old.proto", Package: "old", Deprecated: true})
	if !strings.Contains(text, "// old.proto is a deprecated file.\n\npackage old\n") {
		t.Error(text)
	}
}

func TestExecuteOfAPathLikeABuildConstraint(t *testing.T) {
	for _, deprecated := range []bool{false, true} {
		text := execute(t, templates.File{Source: "x +build y.proto", Package: "p", Deprecated: deprecated})
		if strings.Contains(text, "+build") || !strings.Contains(text, "x + build y.proto") {
			t.Error(text)
		}
	}
}

// What is missing is in another place where the code is apart from the .pb.go.
func TestExecuteNamesTheCure(t *testing.T) {
	const own, other = "add that plugin to buf.gen.yaml", "generate that package anew"
	for apart, want := range map[bool]string{false: own, true: other} {
		text := execute(t, templates.File{Source: "a.proto", Package: "p", Apart: apart})
		if !strings.Contains(text, want) || strings.Contains(text, own) == strings.Contains(text, other) {
			t.Errorf("apart %v:\n%s", apart, text)
		}
	}
}

func BenchmarkExecute(b *testing.B) {
	f := templates.File{Services: make([]templates.Service, 10)}
	for b.Loop() {
		if err := templates.Execute(&strings.Builder{}, f); err != nil {
			b.Fatal(err)
		}
	}
}
