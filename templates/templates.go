// Package templates holds the Go that protoc-gen-easyops emits, as a template,
// and the data that fills it.
package templates

import (
	_ "embed"
	"io"
	"strconv"
	"strings"
	"text/template"
)

// File is what one generated file says. Identifiers are written as they stand
// in that file, qualified where they are another package's. Texts are free of
// control characters.
type File struct {
	Header     string // comments to stand above everything, such as a licence
	Source     string // path of the .proto file
	Deprecated bool
	Package    string // name of the Go package
	Apart      bool   // whether that is another than the package of the .pb.go files
	Example    string // a name that protoc-gen-go-grpc emits
	Runtime    Runtime
	Services   []Service
}

// Runtime holds the names of the runtime that generated code refers to.
type Runtime struct {
	Version, Service, Bind, Comments  string
	Start, Main, Server, ServerOption string
	Dial, Conn, DialOption            string
}

// Service is what is emitted for one service.
type Service struct {
	FullName    string // in protobuf
	Comment     string
	Deprecation string // the paragraph of the comment that says so, or none
	Comments    []Comment

	Start, Bind, Dial                   string // emitted here
	Server, Register, Client, NewClient string // emitted by protoc-gen-go-grpc
	Local                               Local
}

// Comment is the comment of a method, or of the service under the empty name.
type Comment struct{ Name, Text string }

// Local holds the names of parameters and variables.
type Local struct{ Impl, Opts, Conn, Err string }

//go:embed service.go.tmpl
var source string

var service = template.Must(template.New("service.go").Funcs(template.FuncMap{
	"comment":  header,
	"harmless": harmless,
	"doc":      doc,
	"quote":    strconv.Quote,
	"lines":    lines,
}).Parse(source))

// Execute writes the file. It may be called by several goroutines at once.
func Execute(w io.Writer, f File) error { return service.Execute(w, f) }

// lines is a Go string expression for the text, one literal a line.
func lines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if b.Len() > 0 {
			b.WriteString(" +\n")
		}
		b.WriteString(strconv.Quote(line))
	}
	return b.String()
}
