package identity

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the generated file")

// TestFresh: the code in matrix is what the plugin makes of matrix.proto.
func TestFresh(t *testing.T) {
	if _, err := exec.LookPath("protoc"); err != nil {
		t.Skip("there is no protoc")
	}
	const root, generated = "../..", "matrix/matrix_easyops.pb.go"
	dir := t.TempDir()
	plugin := filepath.Join(dir, "protoc-gen-easyops")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", plugin, "./cmd/protoc-gen-easyops")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), "protoc", "-I", filepath.Join(root, "proto"), "-I", "matrix", "--plugin="+plugin, "--easyops_out="+dir,
		"--easyops_opt=module=github.com/go-easyops/easyops/test/identity", "matrix.proto").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got, err := os.ReadFile(filepath.Join(dir, generated))
	if err != nil {
		t.Fatal(err)
	}
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
		t.Errorf("%s is not what the plugin emits: run go test ./identity -run Fresh -update in test/", generated)
	}
}
