package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"
)

const (
	goldenModule = "example.com/golden"
	easyopsPath  = "github.com/go-easyops/easyops"
	callSuffix   = "call_test.go.txt"
)

// What the plugin emits for every case builds, beside the output of the plugins
// that it builds on and with the runtime of this checkout. Some cases bring a
// test that starts and calls what was built.
func TestGoldensBuildAndRun(t *testing.T) {
	dir := newModule(t)
	run := []string{"test", "-count=1"}
	for _, c := range testCases(t) {
		writeTree(t, dir, mustRespond(t, c.request(t, c.parameter, "module="+goldenModule)))
		writeTree(t, dir, external(t, "protoc-gen-go", c))
		writeTree(t, dir, external(t, "protoc-gen-go-grpc", c))
		for path, text := range c.files(t, callSuffix) {
			writeTree(t, dir, map[string]string{c.name + "/" + strings.TrimSuffix(path, ".txt"): text})
			run = append(run, "./"+c.name)
		}
	}
	goRun(t, dir, "vet", "./...")
	goRun(t, dir, run...)
}

// A name that is missing leads to the comment that says what to do.
func TestBuildWithoutGRPC(t *testing.T) {
	dir := newModule(t)
	c := testCase{name: "empty", dir: filepath.Join("testdata", "empty")}
	writeTree(t, dir, mustRespond(t, c.request(t, "module="+goldenModule)))
	writeTree(t, dir, external(t, "protoc-gen-go", c))

	out, err := goCommand(dir, "build", "./...").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "undefined: WithoutMethodsServer") {
		t.Fatalf("%v\n%s", err, out)
	}
	const cure = "// protoc-gen-go-grpc is missing: add that plugin to buf.gen.yaml."
	if text := c.files(t, goldenSuffix)["methods_easyops.pb.go"+goldenSuffix]; !strings.Contains(text, cure) {
		t.Error("the generated file does not name the cure")
	}
}

// With package= it is another's package that has no code of protoc-gen-go-grpc,
// or code of its predecessor, and it is that one that has to change.
func TestBuildApart(t *testing.T) {
	tests := []struct {
		name, want string
		change     func(grpcFile string) string
	}{
		{"without gRPC", "undefined: empty.WithoutMethodsServer", func(string) string {
			return "package empty\n"
		}},
		{"old gRPC", "does not match func(grpc.ServiceRegistrar, S)", func(text string) string {
			return strings.ReplaceAll(text, "s grpc.ServiceRegistrar", "s *grpc.Server")
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := newModule(t)
			c := testCase{name: "empty", dir: filepath.Join("testdata", "empty")}
			files := mustRespond(t, c.request(t, "package="+goldenModule+"/apart", "module="+goldenModule))
			writeTree(t, dir, files)
			writeTree(t, dir, external(t, "protoc-gen-go", c))
			for name, text := range external(t, "protoc-gen-go-grpc", c) {
				writeTree(t, dir, map[string]string{name: test.change(text)})
			}
			out, err := goCommand(dir, "build", "./...").CombinedOutput()
			if err == nil || !strings.Contains(string(out), test.want) {
				t.Fatalf("%v\n%s", err, out)
			}
			for name, text := range files {
				for _, cure := range []string{
					"their package has no\n// output of protoc-gen-go-grpc.", "Where easyops.Bind does not take its Register\n// functions, they are from before",
					"The cure of both is to\n// generate that package anew.",
				} {
					if !strings.Contains(text, cure) || strings.Contains(text, "buf.gen.yaml") {
						t.Errorf("%s does not name the cure:\n%s", name, text)
					}
				}
			}
		})
	}
}

// So does code that is older or newer than the runtime.
func TestBuildWithAnotherRuntime(t *testing.T) {
	const assertion = "easyops.GeneratedCodeVersion"
	dir := newModule(t)
	c := testCase{name: "empty", dir: filepath.Join("testdata", "empty")}
	files := mustRespond(t, c.request(t, "module="+goldenModule))
	for name, text := range files {
		const cure = "// that name is undefined, plugin and runtime differ: run buf generate with the\n"
		if !strings.Contains(text, cure) {
			t.Error("the generated file does not name the cure")
		}
		files[name] = strings.ReplaceAll(text, assertion+"1", assertion+"0")
	}
	writeTree(t, dir, files)
	writeTree(t, dir, external(t, "protoc-gen-go", c))
	writeTree(t, dir, external(t, "protoc-gen-go-grpc", c))

	out, err := goCommand(dir, "build", "./...").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "undefined: "+assertion+"0") {
		t.Fatalf("%v\n%s", err, out)
	}
}

// newModule is an empty module that uses this checkout, with the versions that
// the checkout uses.
func newModule(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	own := strings.Replace(string(mod), "module "+easyopsPath+"\n", "module "+goldenModule+"\n", 1)
	own += "\nrequire " + easyopsPath + " v0.0.0\n\nreplace " + easyopsPath + " => " + root + "\n"
	writeTree(t, dir, map[string]string{"go.mod": own, "go.sum": string(sum)})
	return dir
}

func writeTree(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// external runs a plugin that is a tool of this module. It gets no comments: it
// would make directives of some.
func external(t *testing.T, plugin string, c testCase) map[string]string {
	t.Helper()
	req := c.request(t, "module="+goldenModule)
	for _, f := range req.ProtoFile {
		f.SourceCodeInfo = nil
	}
	in, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "tool", plugin)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", plugin, err)
	}
	resp := &pluginpb.CodeGeneratorResponse{}
	if err := proto.Unmarshal(out, resp); err != nil {
		t.Fatal(err)
	}
	if resp.Error != nil {
		t.Fatalf("%s: %s", plugin, resp.GetError())
	}
	files := map[string]string{}
	for _, f := range resp.File {
		files[f.GetName()] = f.GetContent()
	}
	return files
}

// goCommand runs the go command in a module.
func goCommand(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	return cmd
}

func goRun(t *testing.T, dir string, args ...string) {
	t.Helper()
	if out, err := goCommand(dir, args...).CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
