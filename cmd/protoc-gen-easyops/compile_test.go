package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"

	easyopsv1 "github.com/go-easyops/easyops/proto/easyops/v1"
)

// compile makes a request of .proto files, by their paths, for all of them.
func compile(t testing.TB, sources map[string]string, parameter string) *pluginpb.CodeGeneratorRequest {
	t.Helper()
	withOptions := map[string]string{easyopsv1.SourcePath: easyopsv1.Source()}
	var paths []string
	for path, text := range sources {
		withOptions[path] = text
		paths = append(paths, path)
	}
	slices.Sort(paths)
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
			Accessor: protocompile.SourceAccessorFromMap(withOptions),
		}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(t.Context(), paths...)
	if err != nil {
		t.Fatal(err)
	}
	req := &pluginpb.CodeGeneratorRequest{FileToGenerate: paths, Parameter: &parameter}
	seen := map[string]bool{}
	for _, f := range files {
		addFile(req, f, seen)
	}
	return overTheWire(t, req)
}

// addFile adds a file after those that it imports, as protoc does.
func addFile(req *pluginpb.CodeGeneratorRequest, f protoreflect.FileDescriptor, seen map[string]bool) {
	if seen[f.Path()] {
		return
	}
	seen[f.Path()] = true
	for i := range f.Imports().Len() {
		addFile(req, f.Imports().Get(i).FileDescriptor, seen)
	}
	req.ProtoFile = append(req.ProtoFile, protoutil.ProtoFromFileDescriptor(f))
}

// overTheWire is the request as the plugin reads it: with its own types for the
// options.
func overTheWire(t testing.TB, req *pluginpb.CodeGeneratorRequest) *pluginpb.CodeGeneratorRequest {
	t.Helper()
	b, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	read := &pluginpb.CodeGeneratorRequest{}
	if err := proto.Unmarshal(b, read); err != nil {
		t.Fatal(err)
	}
	return read
}

// testCase is a folder of testdata: .proto files, beside them the files that
// are expected from them, and perhaps a file with the plugin's parameter.
type testCase struct {
	name, dir, parameter string
}

func testCases(t testing.TB) []testCase {
	t.Helper()
	dirs, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	var cases []testCase
	for _, d := range dirs {
		c := testCase{name: d.Name(), dir: filepath.Join("testdata", d.Name())}
		b, err := os.ReadFile(filepath.Join(c.dir, "parameter"))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		c.parameter = strings.TrimSpace(string(b))
		cases = append(cases, c)
	}
	return cases
}

// request compiles the case for a plugin with further parameters. A case that
// the compiler of the tests is too old for brings its descriptors along, made by
//
//	buf build DIR --as-file-descriptor-set -o DIR/NAME.binpb
func (c testCase) request(t testing.TB, parameters ...string) *pluginpb.CodeGeneratorRequest {
	t.Helper()
	parameter := strings.Join(parameters, ",")
	if set := c.files(t, ".binpb"); len(set) > 0 {
		req := &pluginpb.CodeGeneratorRequest{Parameter: &parameter}
		for _, b := range set {
			files := &descriptorpb.FileDescriptorSet{}
			if err := proto.Unmarshal([]byte(b), files); err != nil {
				t.Fatal(err)
			}
			req.ProtoFile = append(req.ProtoFile, files.File...)
		}
		for path := range c.files(t, ".proto") {
			req.FileToGenerate = append(req.FileToGenerate, path)
		}
		return req
	}
	return compile(t, c.files(t, ".proto"), parameter)
}

// files reads the case's files of a kind, by their slash-separated paths in it.
func (c testCase) files(t testing.TB, suffix string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(c.dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, suffix) {
			return err
		}
		b, err := os.ReadFile(filepath.Join(c.dir, filepath.FromSlash(path)))
		files[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// mustRespond runs the plugin and returns its files by name.
func mustRespond(t testing.TB, req *pluginpb.CodeGeneratorRequest) map[string]string {
	t.Helper()
	resp := respond(req)
	if resp.Error != nil {
		t.Fatal(resp.GetError())
	}
	files := map[string]string{}
	for _, f := range resp.File {
		if _, twice := files[f.GetName()]; twice {
			t.Errorf("%s is written twice", f.GetName())
		}
		files[f.GetName()] = f.GetContent()
	}
	return files
}
