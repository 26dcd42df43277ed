package interop

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/pluginpb"

	testpb "google.golang.org/grpc/interop/grpc_testing"
)

var update = flag.Bool("update", false, "write the generated file")

const (
	pbPackage = "google.golang.org/grpc/interop/grpc_testing"
	ours      = "github.com/go-easyops/easyops/test/interop/interopeasyops"
	generated = "interopeasyops/test_easyops.pb.go"
)

// TestFresh: the code for a service whose .pb.go files are not ours is what the
// plugin emits with package=.
func TestFresh(t *testing.T) {
	file := testpb.File_grpc_testing_test_proto
	parameter := "package=" + ours + ",module=" + ours
	req := &pluginpb.CodeGeneratorRequest{FileToGenerate: []string{file.Path()}}
	addFile(req, file, map[string]bool{})
	for _, f := range req.ProtoFile {
		if f.GetOptions().GetGoPackage() == "" {
			parameter += ",M" + f.GetName() + "=" + pbPackage
		}
	}
	req.Parameter = &parameter
	got := run(t, req)
	if *update {
		if err := os.WriteFile(generated, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(generated)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the plugin emits: run go test ./interop -update in test/", generated)
	}
}

// addFile adds a file behind those that it imports.
func addFile(req *pluginpb.CodeGeneratorRequest, f protoreflect.FileDescriptor, seen map[string]bool) {
	if seen[f.Path()] {
		return
	}
	seen[f.Path()] = true
	for i := range f.Imports().Len() {
		addFile(req, f.Imports().Get(i).FileDescriptor, seen)
	}
	req.ProtoFile = append(req.ProtoFile, protodesc.ToFileDescriptorProto(f))
}

// run runs the plugin of the checkout.
func run(t *testing.T, req *pluginpb.CodeGeneratorRequest) []byte {
	t.Helper()
	plugin := filepath.Join(t.TempDir(), "protoc-gen-easyops")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", plugin, "./cmd/protoc-gen-easyops")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	in, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), plugin)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var resp pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &resp); err != nil {
		t.Fatal(err)
	}
	if resp.Error != nil || len(resp.File) != 1 {
		t.Fatalf("%d files, error %q", len(resp.File), resp.GetError())
	}
	return []byte(resp.File[0].GetContent())
}
