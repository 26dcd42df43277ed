package easyops_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestServersLinkNoClient: the linker leaves what makes connections out of a program
// that only serves, as long as nothing but Dial and DialTCP names it, and no list of
// the status pages by its type.
func TestServersLinkNoClient(t *testing.T) {
	client := regexp.MustCompile(`runtime/routing\.(newPolicy|Dial|\(\*(Conn|Pool|policy)\)\.\w+)\b`)
	found := func(program string) []string {
		file := filepath.Join(t.TempDir(), "program")
		if out, err := exec.Command("go", "build", "-o", file, program).CombinedOutput(); err != nil {
			t.Fatalf("go build %s: %v: %s", program, err, out)
		}
		symbols, err := exec.Command("go", "tool", "nm", file).Output()
		if err != nil {
			t.Fatalf("go tool nm: %v: %s", err, stderr(err))
		}
		return client.FindAllString(string(symbols), -1)
	}
	if names := found("./example/echo"); len(names) > 0 {
		t.Errorf("a server links %d of the client, such as %s", len(names), names[0])
	}
	if len(found("./example/echoclient")) == 0 {
		t.Error("control: a client links none of it")
	}
}
