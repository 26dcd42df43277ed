package easyops_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// forgetful parses its flags only when it is told to.
const forgetful = `package main

import (
	"flag"
	"fmt"
	"os"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/go-easyops/easyops/runtime/easyops"
)

func main() {
	if os.Getenv("PARSE") != "" {
		flag.Parse()
	}
	_, err := easyops.Dial("a.B")
	fmt.Println("dial:", err)
	_, err = easyops.Start([]easyops.Service{easyops.Bind(func(r grpc.ServiceRegistrar, h healthpb.HealthServer) {
		r.RegisterService(&grpc.ServiceDesc{ServiceName: "a.B", HandlerType: (*healthpb.HealthServer)(nil)}, h)
	}, healthpb.HealthServer(healthpb.UnimplementedHealthServer{}), nil)})
	fmt.Println("start:", err)
}
`

// TestUnparsedFlags: a real program that forgets flag.Parse is told, by Start
// and by Dial; one that does not forget is served.
func TestUnparsedFlags(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds a program")
	}
	program := build(t, forgetful)
	for _, test := range []struct {
		env, arg    string
		dial, start string
	}{
		{"", "-easyops.registry=none", "flag.Parse()", "flag.Parse()"},
		{"", "-other", "<nil>", "<nil>"},
		{"PARSE=1", "-easyops.addr=127.0.0.1:0", "<nil>", "<nil>"},
		{"PARSE=1", "-easyops.addr=nonsense", "<nil>", "EASYOPS_ADDR"},
	} {
		cmd := exec.CommandContext(t.Context(), program, test.arg)
		cmd.Env = append(os.Environ(), test.env)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		dial, start, ok := strings.Cut(string(out), "start:")
		if !ok {
			t.Fatalf("output %q", out)
		}
		mustContain(t, dial, test.dial)
		mustContain(t, start, test.start)
	}
}

// build builds a program that is not a test, within this module.
func build(t *testing.T, source string) string {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	main := filepath.Join(dir, "main.go")
	// The file is laid over a place in the module, so that its go.mod holds.
	overlay, err := json.Marshal(map[string]map[string]string{
		"Replace": {filepath.Join(root, "runtime/easyops/internal/program/main.go"): main},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{main: source, filepath.Join(dir, "overlay.json"): string(overlay)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "program")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, "-overlay", filepath.Join(dir, "overlay.json"), "./internal/program")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}
