package serve

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// EchoServer, EchoClient and Greeter are the programs of the example, Easyops is
// the command line.
const (
	EchoServer = "github.com/go-easyops/easyops/example/echo"
	EchoClient = "github.com/go-easyops/easyops/example/echoclient"
	Greeter    = "github.com/go-easyops/easyops/example/greeter"
	Easyops    = "github.com/go-easyops/easyops/cmd/easyops"
	Grpcurl    = "github.com/fullstorydev/grpcurl/cmd/grpcurl"
	Etcdctl    = "go.etcd.io/etcd/etcdctl/v3"
)

var (
	buildMu  sync.Mutex
	buildDir string
	built    = map[string]string{}
)

// Main runs the tests of a package and removes what [Build] built for them.
func Main(m *testing.M) {
	code := m.Run()
	Remove()
	os.Exit(code)
}

// Remove removes what [Build] built, for a package that has a main of its own.
func Remove() {
	if buildDir == "" {
		return
	}
	if err := os.RemoveAll(buildDir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// Build builds a program, once in a test binary, and returns the path of the
// executable.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	buildMu.Lock()
	defer buildMu.Unlock()
	if path, ok := built[pkg]; ok {
		return path
	}
	if buildDir == "" {
		dir, err := os.MkdirTemp("", "easyops-test-")
		if err != nil {
			t.Fatal(err)
		}
		buildDir = dir
	}
	path := filepath.Join(buildDir, filepath.Base(pkg))
	args := append([]string{"build", "-buildvcs=false", "-o", path}, buildFlags...)
	if out, err := exec.Command("go", append(args, pkg)...).CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
	built[pkg] = path
	return path
}
