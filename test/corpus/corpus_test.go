//go:build real

package corpus

import (
	"go/format"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/pluginpb"
)

// What the compiler says of the output for packages without the code that it
// needs.
const (
	// The register functions of the time before protoc-gen-go-grpc, which some
	// projects still generate, take nothing but a grpc.Server.
	oldRegister = `^in call to easyops.Bind, type func\(s \*grpc.Server, .* does not match func\(grpc.ServiceRegistrar, S\)`
	// The code is for ttrpc, not for gRPC.
	withoutGRPC = `^undefined: (\w+\.)?\w+(Server|Client)$`
)

// refused are the packages of which the compiler says so, by their beginnings.
var refused = map[string]string{
	"cloud.google.com/go/iam/admin/apiv1/adminpb":          oldRegister,
	"github.com/containerd/containerd/api/runtime/task/v2": withoutGRPC,
	"github.com/containerd/containerd/api/services/ttrpc/": withoutGRPC,
	"google.golang.org/genproto/googleapis/":               oldRegister,
}

// TestCorpus generates code for all services that are linked into a program.
func TestCorpus(t *testing.T) {
	c := load(t)
	t.Logf("%d services in %d files of %d packages", c.services, len(c.request.FileToGenerate), len(c.files))
	t.Run("output builds", func(t *testing.T) { outputBuilds(t, c) })
	t.Run("internal is refused", func(t *testing.T) { internalIsRefused(t, c) })
	t.Run("output builds beside", func(t *testing.T) { outputBuildsBeside(t, c) })
	t.Run("strategies", func(t *testing.T) { strategies(t, c) })
}

// outputBuilds puts the code for each Go package with services into a package
// of its own, as users do with what is not theirs. Nobody outside can import
// those that are internal to others, and the plugin says so.
func outputBuilds(t *testing.T, c *corpus) {
	dir := newModule(t)
	open := slices.DeleteFunc(c.packages(), isInternal)
	for _, pkg := range open {
		for name, text := range c.generate(t, pkg, apart(pkg)...) {
			write(t, filepath.Join(dir, name), text)
		}
	}
	faults := buildFaults(t, dir)
	compare(t, open, faults)
	sound := slices.DeleteFunc(slices.Clone(open), func(pkg string) bool { return faults[pkg] != nil })
	for pkg, lines := range vetFaults(t, dir, sound) {
		t.Errorf("go vet: %s: %s", pkg, strings.Join(lines, "\n"))
	}
}

// internalIsRefused asks for code apart from packages that nobody else may
// import.
func internalIsRefused(t *testing.T, c *corpus) {
	internal := slices.DeleteFunc(c.packages(), func(pkg string) bool { return !isInternal(pkg) })
	if len(internal) == 0 {
		t.Error("the corpus has no internal packages")
	}
	for _, pkg := range internal {
		resp := c.respond(t, pkg, apart(pkg)...)
		if want := " may import " + pkg + ": name one of them by package="; !strings.Contains(resp.GetError(), want) {
			t.Errorf("%s: got %d files and the error %q", pkg, len(resp.File), resp.GetError())
		}
	}
}

// apart are the plugin's options for a package of its own.
func apart(pkg string) []string { return []string{"package=" + module + "/" + pkg, "module=" + module} }

// outputBuildsBeside adds the code to a copy of each package.
func outputBuildsBeside(t *testing.T, c *corpus) {
	dir := newModule(t)
	copySources(t, dir, c.packages())
	for _, pkg := range c.packages() {
		for name, text := range c.generate(t, pkg) {
			write(t, filepath.Join(dir, name), text)
		}
	}
	compare(t, c.packages(), buildFaults(t, dir))
}

// strategies runs the plugin once for all files, as buf does with strategy: all.
// The output is that of a run for each package.
func strategies(t *testing.T, c *corpus) {
	single := map[string]string{}
	for _, pkg := range c.packages() {
		maps.Copy(single, c.generate(t, pkg))
	}
	resp := &pluginpb.CodeGeneratorResponse{}
	c.run(t, c.request, resp)
	if resp.Error != nil || !maps.Equal(single, contents(resp)) {
		t.Errorf("%d files of all, %d of each: %s", len(resp.File), len(single), resp.GetError())
	}
	for name, text := range single {
		if formatted, err := format.Source([]byte(text)); err != nil || string(formatted) != text {
			t.Errorf("%s is not gofmt-clean: %v", name, err)
		}
	}
}

func isInternal(pkg string) bool { return strings.Contains(pkg, "/internal/") }

// compare compares what the compiler says with what is expected.
func compare(t *testing.T, packages []string, faults map[string][]string) {
	t.Helper()
	for _, pkg := range packages {
		want, ok := expected(pkg)
		if ok && len(faults[pkg]) == 0 {
			t.Errorf("%s builds, and is expected not to", pkg)
		}
		for _, line := range faults[pkg] {
			if !ok || !regexp.MustCompile(want).MatchString(line) {
				t.Errorf("%s: %s", pkg, line)
			}
		}
	}
	for pkg, lines := range faults {
		if !slices.Contains(packages, pkg) {
			t.Errorf("%s: %s", pkg, strings.Join(lines, "\n"))
		}
	}
}

func expected(pkg string) (want string, ok bool) {
	for prefix, want := range refused {
		if strings.HasPrefix(pkg, prefix) {
			return want, true
		}
	}
	return "", false
}
