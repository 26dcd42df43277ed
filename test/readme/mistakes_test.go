//go:build real

package readme

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPluginIsNotFound: what a reader sees whose buf cannot find the plugin is
// in the documentation with its cure. The message is buf's and Go's.
func TestPluginIsNotFound(t *testing.T) {
	docs, err := os.ReadFile("../../docs/generate.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ plugin, says string }{
		"not on PATH": {"protoc-gen-easyops", "executable file not found in $PATH"},
		"no tool":     {"[go, tool, protoc-gen-easyops]", "no such tool"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := emptyFolder(t)
			for _, s := range quickstart(t) {
				if s.file != "" && s.file != "main.go" {
					write(t, filepath.Join(dir, s.file), s.text)
				}
			}
			write(t, filepath.Join(dir, "buf.gen.yaml"), "version: v2\nplugins:\n  - local: "+tt.plugin+"\n    out: gen\n")
			write(t, filepath.Join(dir, "go.mod"), "module example.com/hello\n\ngo 1.26.3\n")
			cmd := exec.CommandContext(t.Context(), "go", "run", "github.com/bufbuild/buf/cmd/buf@v1.75.0", "generate")
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatal("buf found the plugin")
			}
			if !strings.Contains(string(out), tt.says) || !strings.Contains(string(out), "protoc-gen-easyops") {
				t.Errorf("buf says:\n%s", out)
			}
			if !strings.Contains(string(docs), "`"+tt.says+"`") {
				t.Errorf("docs/generate.md does not say what to do about %q", tt.says)
			}
		})
	}
}
