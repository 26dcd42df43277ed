package mistakes

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(programs.dir)
		os.Exit(code)
	}))
}

// programs are those of the main module that were built for this test.
var programs struct {
	mu  sync.Mutex
	dir string
}

// program builds one, or returns the path of the one that was built before.
func program(t *testing.T, pkg string) string {
	t.Helper()
	programs.mu.Lock()
	defer programs.mu.Unlock()
	if programs.dir == "" {
		dir, err := os.MkdirTemp("", "easyops-test-")
		if err != nil {
			t.Fatal(err)
		}
		programs.dir = dir
	}
	path := filepath.Join(programs.dir, filepath.Base(pkg))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	build := exec.Command("go", "build", "-buildvcs=false", "-o", path, pkg)
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
	return path
}

// run runs the command line of easyops and returns what it prints.
func run(t *testing.T, args ...string) string {
	t.Helper()
	var faults bytes.Buffer
	command := exec.Command(program(t, "./cmd/easyops"), args...)
	command.Stderr = &faults
	out, err := command.Output()
	if err != nil {
		t.Fatalf("easyops %q: %v\n%s", args, err, &faults)
	}
	return strings.TrimSpace(string(out))
}

// keys is a directory of keys.
type keys string

func newKeys(t *testing.T) keys {
	dir := t.TempDir()
	run(t, "keys", "new", dir)
	return keys(dir)
}

func (k keys) token(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, append([]string{"token", "--keys", string(k)}, args...)...)
}

// usersOf is how a server takes tokens of the keys.
func usersOf(k keys, audience string) string {
	return "jwks:" + string(k) + "/jwks.json?issuer=easyops-users&audience=" + audience
}

func userToken(token string) easyops.DialOption {
	return easyops.DialUserToken(func(context.Context) (string, error) { return token, nil })
}

// onlyFor is the rule of the service.
func onlyFor(access auth.Access) easyops.ServerOption { return easyops.WithAccess(echoName, access) }

// ca is an authority.
type ca struct{ dir, file string }

func newCA(t *testing.T, trustDomain string) ca {
	dir := t.TempDir()
	run(t, "ca", "new", "--trust-domain", trustDomain, dir)
	return ca{dir, filepath.Join(dir, "ca.pem")}
}

// issue returns the certificate that the arguments ask for, with the authorities
// that verify others.
func (a ca) issue(t *testing.T, authorities string, args ...string) easyops.Option {
	t.Helper()
	out := t.TempDir()
	run(t, append([]string{"ca", "issue", "--out", out, "--force", a.dir}, args...)...)
	return easyops.WithTLSFiles(filepath.Join(out, "cert.pem"), filepath.Join(out, "key.pem"), authorities)
}

// concat makes one file of several.
func concat(t *testing.T, files ...string) string {
	t.Helper()
	var all bytes.Buffer
	for _, f := range files {
		all.WriteString(read(t, f))
	}
	file := filepath.Join(t.TempDir(), "all.pem")
	if err := os.WriteFile(file, all.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// addressOfMachine is one that is not of the loopback interface.
func addressOfMachine(t *testing.T) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil && !ip.IP.IsLoopback() {
			return ip.IP.String()
		}
	}
	t.Skip("the machine has no IPv4 address but that of loopback")
	return ""
}

// runByShell starts the example's server with a flag as a shell understands it,
// and returns why it does not start.
func runByShell(t *testing.T, flag string) said {
	t.Helper()
	line := "exec " + program(t, "./example/echo") + " -easyops.addr=127.0.0.1:0 -easyops.registry=none " + flag
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	sh := exec.CommandContext(ctx, "sh", "-c", line)
	sh.WaitDelay = patience
	out, err := sh.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := sh.Start(); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	serving := false
	for lines := bufio.NewScanner(out); !serving && lines.Scan(); {
		log.WriteString(lines.Text() + "\n")
		serving = strings.Contains(lines.Text(), "serving")
	}
	if serving {
		_ = sh.Process.Kill() // exec has made the shell the server
	}
	_ = sh.Wait() // the log says it all
	if serving {
		return nil
	}
	return said{"start": log.String()}
}
