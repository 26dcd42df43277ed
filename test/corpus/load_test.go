//go:build real

// Package corpus tests the plugin on the services of other projects: the code
// that it emits for them builds with the code that they ship.
package corpus

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

const pluginPackage = "github.com/go-easyops/easyops/cmd/protoc-gen-easyops"

// corpus is what is linked into a program.
type corpus struct {
	plugin   string
	request  *pluginpb.CodeGeneratorRequest
	files    map[string][]string // the paths of those with services, by Go package
	byPath   map[string]*descriptorpb.FileDescriptorProto
	services int
}

// load builds the plugin and the program, without the race detector: neither
// starts a goroutine, and it would build all that is linked once more.
func load(t *testing.T) *corpus {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-tags=real", "-buildvcs=false", "-o", dir, pluginPackage, "./linked")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(filepath.Join(dir, "linked")).Output()
	if err != nil {
		t.Fatal(err)
	}
	c := &corpus{
		plugin:  filepath.Join(dir, filepath.Base(pluginPackage)),
		request: &pluginpb.CodeGeneratorRequest{},
		files:   map[string][]string{},
		byPath:  map[string]*descriptorpb.FileDescriptorProto{},
	}
	if err := proto.Unmarshal(out, c.request); err != nil {
		t.Fatal(err)
	}
	for _, f := range c.request.ProtoFile {
		c.byPath[f.GetName()] = f
	}
	c.group()
	return c
}

// group sorts the files with services by the Go packages that the request maps
// them to.
func (c *corpus) group() {
	packages := map[string]string{}
	for mapping := range strings.SplitSeq(c.request.GetParameter(), ",") {
		path, pkg, _ := strings.Cut(strings.TrimPrefix(mapping, "M"), "=")
		packages[path] = pkg
	}
	for _, path := range c.request.FileToGenerate {
		c.services += len(c.byPath[path].Service)
		c.files[packages[path]] = append(c.files[packages[path]], path)
	}
}

func (c *corpus) packages() []string { return slices.Sorted(maps.Keys(c.files)) }

// generate runs the plugin for the files of a Go package, and returns what it
// makes.
func (c *corpus) generate(t *testing.T, pkg string, parameters ...string) map[string]string {
	t.Helper()
	resp := c.respond(t, pkg, parameters...)
	if resp.Error != nil {
		t.Errorf("%s: %s", pkg, resp.GetError())
	}
	return contents(resp)
}

// respond runs the plugin for the files of a Go package.
func (c *corpus) respond(t *testing.T, pkg string, parameters ...string) *pluginpb.CodeGeneratorResponse {
	t.Helper()
	req := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: c.files[pkg],
		Parameter:      proto.String(strings.Join(append(parameters, c.request.GetParameter()), ",")),
	}
	wanted := map[string]bool{}
	for _, path := range c.files[pkg] {
		c.want(path, wanted)
	}
	for _, f := range c.request.ProtoFile {
		if wanted[f.GetName()] {
			req.ProtoFile = append(req.ProtoFile, f)
		}
	}
	resp := &pluginpb.CodeGeneratorResponse{}
	c.run(t, req, resp)
	return resp
}

func contents(resp *pluginpb.CodeGeneratorResponse) map[string]string {
	files := map[string]string{}
	for _, f := range resp.File {
		files[f.GetName()] = f.GetContent()
	}
	return files
}

// want marks a file and all that it imports.
func (c *corpus) want(path string, wanted map[string]bool) {
	if wanted[path] {
		return
	}
	wanted[path] = true
	for _, imported := range c.byPath[path].GetDependency() {
		c.want(imported, wanted)
	}
}

func (c *corpus) run(t *testing.T, req, resp proto.Message) {
	t.Helper()
	in, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(c.plugin)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(out, resp); err != nil {
		t.Fatal(err)
	}
}
