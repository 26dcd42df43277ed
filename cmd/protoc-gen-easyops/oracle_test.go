package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/cmd/protoc-gen-go/internal_gengo"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"
)

// responseFaults says what is wrong with the answer to a request, whatever was
// asked.
func responseFaults(req *pluginpb.CodeGeneratorRequest, resp *pluginpb.CodeGeneratorResponse) []string {
	if resp.Error != nil {
		if len(resp.File) > 0 || strings.TrimSpace(resp.GetError()) == "" {
			return []string{fmt.Sprintf("%d files beside the error %q", len(resp.File), resp.GetError())}
		}
		if unreadable(strings.NewReplacer("\n", "", "\t", "").Replace(resp.GetError())) {
			return []string{fmt.Sprintf("an error that cannot be read: %q", resp.GetError())}
		}
		return nil
	}
	var faults []string
	for _, f := range resp.File {
		for _, fault := range fileFaults(f) {
			faults = append(faults, f.GetName()+": "+fault)
		}
	}
	if len(faults) > 0 {
		return faults
	}
	return nameFaults(req, resp)
}

// fileFaults is what is wrong with a file by itself.
func fileFaults(f *pluginpb.CodeGeneratorResponse_File) []string {
	var faults []string
	if !strings.HasSuffix(f.GetName(), "_easyops.pb.go") || f.InsertionPoint != nil {
		faults = append(faults, "is not the name of a file of ours")
	}
	if unreadable(f.GetName()) || !fs.ValidPath(f.GetName()) || !safeStart(path.Base(f.GetName())) {
		faults = append(faults, "is not the name of a file that Go takes")
	}
	for _, fault := range unsound(f.GetContent()) {
		if !strings.HasPrefix(fault, "too long: ") { // names may be as long as they like
			faults = append(faults, fault)
		}
	}
	if len(faults) > 0 {
		return faults
	}
	own, imports := topLevel(f.GetContent()), importNames(f.GetContent())
	for i, name := range own {
		if slices.Contains(own[:i], name) {
			faults = append(faults, "declares "+name+" twice")
		}
	}
	for _, name := range imports {
		if name == "" {
			faults = append(faults, "an import without a name")
		}
	}
	for _, name := range paramNames(f.GetContent()) {
		if slices.Contains(imports, name) {
			faults = append(faults, "the parameter "+name+" hides an import")
		}
	}
	return faults
}

// nameFaults is what files of one directory have in common with each other, and
// with those of protoc-gen-go, that Go would not take.
func nameFaults(req *pluginpb.CodeGeneratorRequest, resp *pluginpb.CodeGeneratorResponse) []string {
	var faults []string
	declared := map[string]string{} // by directory and name, the file
	declare := func(file, text string, sure bool) {
		for _, name := range topLevel(text) {
			key := path.Dir(file) + " " + name
			if other, twice := declared[key]; twice && sure {
				faults = append(faults, fmt.Sprintf("%s declares %s, and so does %s", file, name, other))
			}
			declared[key] = file
		}
	}
	if !strings.Contains(req.GetParameter(), "package=") { // with it, they are in no package with others
		for _, f := range goFiles(req) {
			declare(f.GetName(), f.GetContent(), false)
		}
	}
	for _, f := range resp.File {
		declare(f.GetName(), f.GetContent(), true)
	}
	for _, f := range resp.File {
		for _, name := range importNames(f.GetContent()) {
			if other, taken := declared[path.Dir(f.GetName())+" "+name]; taken {
				faults = append(faults, fmt.Sprintf("%s imports %s, which %s declares", f.GetName(), name, other))
			}
		}
	}
	return faults
}

// goFiles are the files of protoc-gen-go, as far as it makes some of a request.
func goFiles(req *pluginpb.CodeGeneratorRequest) (files []*pluginpb.CodeGeneratorResponse_File) {
	defer func() {
		if recover() != nil {
			files = nil // its panics are not ours
		}
	}()
	req = proto.CloneOf(req)
	for _, f := range req.ProtoFile {
		f.SourceCodeInfo = nil // it would make directives of some comments
	}
	gen, err := protogen.Options{}.New(req)
	if err != nil {
		return nil
	}
	for _, f := range gen.Files {
		if f.Generate {
			internal_gengo.GenerateFile(gen, f)
		}
	}
	return gen.Response().File
}

func parse(text string) *ast.File {
	file, err := parser.ParseFile(token.NewFileSet(), "", text, parser.SkipObjectResolution)
	if err != nil {
		return &ast.File{}
	}
	return file
}

// importNames are the names of the packages that a file imports. That of a
// package without one, or with a meaning of its own, is empty.
func importNames(text string) []string {
	var names []string
	for _, imp := range parse(text).Imports {
		if imp.Name == nil || imp.Name.Name == "_" || imp.Name.Name == "." || imp.Path.Value == `"C"` {
			names = append(names, "")
			continue
		}
		names = append(names, imp.Name.Name)
	}
	return names
}

func paramNames(text string) []string {
	var names []string
	for _, decl := range parse(text).Decls {
		if f, ok := decl.(*ast.FuncDecl); ok {
			for _, param := range f.Type.Params.List {
				for _, ident := range param.Names {
					names = append(names, ident.Name)
				}
			}
		}
	}
	return names
}

// topLevel are the names that a file declares for its package.
func topLevel(text string) []string {
	var names []string
	for _, decl := range parse(text).Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Recv == nil {
				names = append(names, decl.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				names = append(names, specNames(spec)...)
			}
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == "_" || name == "init" })
}

func specNames(spec ast.Spec) []string {
	var names []string
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		names = append(names, spec.Name.Name)
	case *ast.ValueSpec:
		for _, ident := range spec.Names {
			names = append(names, ident.Name)
		}
	}
	return names
}

// The oracle finds what it looks for.
func TestResponseFaults(t *testing.T) {
	const start = "// Code generated by a test. DO NOT EDIT.\n\npackage p\n"
	const dial = start + "\n// DialS dials.\nfunc DialS() {}\n"
	const name = "example.com/p/a_easyops.pb.go"
	file := func(name, text string) *pluginpb.CodeGeneratorResponse_File {
		return &pluginpb.CodeGeneratorResponse_File{Name: &name, Content: &text}
	}
	tests := []struct {
		name, message string
		resp          *pluginpb.CodeGeneratorResponse
		want          string
	}{
		{"sound", "M", &pluginpb.CodeGeneratorResponse{File: []*pluginpb.CodeGeneratorResponse_File{file(name, dial)}}, ""},
		{"error", "M", &pluginpb.CodeGeneratorResponse{Error: proto.String("a fault")}, ""},
		{"error of many lines", "M", &pluginpb.CodeGeneratorResponse{Error: proto.String("a fault:\n\tlines")}, ""},
		{"unreadable error", "M", &pluginpb.CodeGeneratorResponse{Error: proto.String("a \x1b fault")}, "an error that cannot be read"},
		{"empty error", "M", &pluginpb.CodeGeneratorResponse{Error: proto.String(" ")}, "0 files beside the error"},
		{"file and error", "M", &pluginpb.CodeGeneratorResponse{
			Error: proto.String("a fault"), File: []*pluginpb.CodeGeneratorResponse_File{file(name, dial)},
		}, "1 files beside the error"},
		{"name", "M", &pluginpb.CodeGeneratorResponse{File: []*pluginpb.CodeGeneratorResponse_File{file("a.go", dial)}}, "is not the name"},
		{"name outside", "M", &pluginpb.CodeGeneratorResponse{File: []*pluginpb.CodeGeneratorResponse_File{file("../a_easyops.pb.go", dial)}}, "is not the name of a file that Go takes"},
		{"name with dash", "M", &pluginpb.CodeGeneratorResponse{File: []*pluginpb.CodeGeneratorResponse_File{file("x/-a_easyops.pb.go", dial)}}, "is not the name of a file that Go takes"},
		{"name of two lines", "M", &pluginpb.CodeGeneratorResponse{File: []*pluginpb.CodeGeneratorResponse_File{file("x\n/a_easyops.pb.go", dial)}}, "is not the name of a file that Go takes"},
		{"unsound", "M", &pluginpb.CodeGeneratorResponse{File: []*pluginpb.CodeGeneratorResponse_File{file(name, "package")}}, "expected"},
		{"cgo", "M", &pluginpb.CodeGeneratorResponse{File: []*pluginpb.CodeGeneratorResponse_File{
			file(name, start+"\nimport \"C\"\n"),
		}}, "an import without a name"},
		{"twice in a file", "M", &pluginpb.CodeGeneratorResponse{File: []*pluginpb.CodeGeneratorResponse_File{
			file(name, dial+"\nconst DialS = 1\n"),
		}}, "declares DialS twice"},
		{"hidden import", "M", &pluginpb.CodeGeneratorResponse{File: []*pluginpb.CodeGeneratorResponse_File{
			file(name, start+"\nimport conn \"x.y/conn\"\n\n// F does it.\nfunc F(conn conn.X) {}\n"),
		}}, "the parameter conn hides an import"},
		{"twice in a package", "M", &pluginpb.CodeGeneratorResponse{File: []*pluginpb.CodeGeneratorResponse_File{
			file(name, dial), file("example.com/p/b_easyops.pb.go", dial),
		}}, "b_easyops.pb.go declares DialS, and so does"},
		{"a message's name", "DialS", &pluginpb.CodeGeneratorResponse{File: []*pluginpb.CodeGeneratorResponse_File{
			file(name, dial),
		}}, "declares DialS, and so does example.com/p/a.pb.go"},
		{"an import's name", "M", &pluginpb.CodeGeneratorResponse{File: []*pluginpb.CodeGeneratorResponse_File{
			file(name, dial), file("example.com/p/b_easyops.pb.go", start+"\nimport DialS \"x.y/z\"\n\nconst _ = DialS.X\n"),
		}}, "imports DialS, which example.com/p/a_easyops.pb.go declares"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			req := compile(t, map[string]string{"a.proto": head + "service S {}\nmessage " + test.message + " {}"}, "")
			got := strings.Join(responseFaults(req, test.resp), "\n")
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
