package easyops_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// protoRoots are the modules of buf.yaml.
var protoRoots = []string{"proto", "example/proto"}

// plugins are those of buf.gen.yaml.
var plugins = [][]string{
	{"go", "tool", "protoc-gen-go"},
	{"go", "tool", "protoc-gen-go-grpc"},
	{"go", "run", "./cmd/protoc-gen-easyops"},
}

// TestGeneratedCodeIsFresh generates what buf would and compares it with the
// tree. Building buf takes minutes, so the files are compiled here.
func TestGeneratedCodeIsFresh(t *testing.T) {
	want := map[string]string{}
	request := compile(t, protoFiles(t))
	for _, plugin := range plugins {
		for _, file := range runPlugin(t, plugin, request) {
			want[file.GetName()] = file.GetContent()
		}
	}
	if len(want) == 0 {
		t.Fatal("the plugins generated nothing")
	}
	for _, fault := range compare(want, os.DirFS(".")) {
		t.Error(fault)
	}
	walk(t, func(name string) {
		if _, ok := want[name]; !ok && strings.HasSuffix(name, ".pb.go") && !strings.Contains(name, "testdata/") && !ownModule(name) {
			t.Errorf("%s is generated from no .proto file of the tree: remove it", name)
		}
	})
}

// compare says which files of a tree are not as they should be.
func compare(want map[string]string, tree fs.FS) (faults []string) {
	for name, content := range want {
		switch got, err := fs.ReadFile(tree, name); {
		case err != nil:
			faults = append(faults, fmt.Sprintf("%v: run make generate", err))
		case string(got) != content:
			faults = append(faults, name+" is stale: run make generate")
		}
	}
	return faults
}

func TestCompare(t *testing.T) {
	tree := fstest.MapFS{"fresh.go": {Data: []byte("a")}, "stale.go": {Data: []byte("a")}}
	faults := compare(map[string]string{"fresh.go": "a", "stale.go": "b", "missing.go": "c"}, tree)
	slices.Sort(faults)
	want := []string{"open missing.go: file does not exist: run make generate", "stale.go is stale: run make generate"}
	if !slices.Equal(faults, want) {
		t.Errorf("got %q, want %q", faults, want)
	}
}

// protoFiles returns the .proto files relative to their roots.
func protoFiles(t *testing.T) (files []string) {
	t.Helper()
	for _, root := range protoRoots {
		err := fs.WalkDir(os.DirFS(root), ".", func(name string, _ fs.DirEntry, err error) error {
			if filepath.Ext(name) == ".proto" {
				files = append(files, name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// compile makes the request that buf sends to a plugin for all files at once.
func compile(t *testing.T, files []string) []byte {
	t.Helper()
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: protoRoots}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	compiled, err := compiler.Compile(context.Background(), files...)
	if err != nil {
		t.Fatal(err)
	}
	request := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: files,
		Parameter:      proto.String("module=" + module),
	}
	seen := map[string]bool{}
	for _, file := range compiled {
		request.ProtoFile = appendWithImports(request.ProtoFile, file, seen)
	}
	encoded, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// appendWithImports appends a file behind all that it imports.
func appendWithImports(to []*descriptorpb.FileDescriptorProto, file protoreflect.FileDescriptor, seen map[string]bool) []*descriptorpb.FileDescriptorProto {
	if seen[file.Path()] {
		return to
	}
	seen[file.Path()] = true
	for i := range file.Imports().Len() {
		to = appendWithImports(to, file.Imports().Get(i).FileDescriptor, seen)
	}
	return append(to, protoutil.ProtoFromFileDescriptor(file))
}

func runPlugin(t *testing.T, plugin []string, request []byte) []*pluginpb.CodeGeneratorResponse_File {
	t.Helper()
	cmd := exec.Command(plugin[0], plugin[1:]...)
	cmd.Stdin = bytes.NewReader(request)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", plugin, err, stderr(err))
	}
	response := &pluginpb.CodeGeneratorResponse{}
	if err := proto.Unmarshal(out, response); err != nil {
		t.Fatalf("%v: %v", plugin, err)
	}
	if response.Error != nil {
		t.Fatalf("%v: %s", plugin, response.GetError())
	}
	return response.GetFile()
}

// stderr is what a failed program said.
func stderr(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(exit.Stderr)
	}
	return ""
}
