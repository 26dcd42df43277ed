package local

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/go-easyops/easyops/runtime/registry"
)

// childDir is the variable that makes the test binary a server process, which
// registers in the directory, says so, and waits for its death.
const childDir = "EASYOPS_TEST_CHILD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir)
	}
	goleak.VerifyTestMain(m)
}

func child(dir string) {
	r, err := Open(dir, quiet())
	if err == nil {
		_, err = r.Register(context.Background(), entries(registry.NewID(), registry.Ready, "echo"))
	}
	fmt.Println("registered", err)
	select {}
}

func startChild(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line := make([]byte, 100)
	n, _ := out.Read(line)
	if got := string(line[:n]); got != "registered <nil>\n" {
		t.Fatalf("the child says %q", got)
	}
	return cmd
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func entries(id string, h registry.Health, services ...string) (list []registry.Instance) {
	for _, s := range services {
		list = append(list, registry.Instance{
			ID: id, Service: s, Addr: "127.0.0.1:4100", Kinds: []registry.Kind{registry.KindGRPC},
			Health: h, Started: time.Unix(1_800_000_000, 0).UTC(),
		})
	}
	return list
}

// newRegistry opens a registry in a new directory.
func newRegistry(t *testing.T) *Registry {
	t.Helper()
	return openRegistry(t, t.TempDir()+"/reg")
}

func openRegistry(t *testing.T, dir string) *Registry {
	t.Helper()
	r, err := Open(dir, quiet())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func register(t *testing.T, r *Registry, list []registry.Instance) registry.Lease {
	t.Helper()
	l, err := r.Register(t.Context(), list)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(context.Background()) })
	return l
}

// watched collects what a watch says.
type watched struct {
	t    *testing.T
	mu   sync.Mutex
	all  []string
	news chan struct{}
}

// startWatch watches a service until the test ends.
func startWatch(t *testing.T, r *Registry, service string) *watched {
	t.Helper()
	w := &watched{t: t, news: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Watch(ctx, service, w.update)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

func (w *watched) update(list []registry.Instance, err error) {
	text := "error"
	if err == nil {
		var parts []string
		for _, i := range list {
			parts = append(parts, i.ID+"="+string(i.Health))
		}
		text = "[" + strings.Join(parts, " ") + "]"
	}
	w.mu.Lock()
	w.all = append(w.all, text)
	w.mu.Unlock()
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// wait waits until the watch says something that fits.
func (w *watched) wait(what string, fits func(last string) bool) string {
	w.t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		w.mu.Lock()
		all := slices.Clone(w.all)
		w.mu.Unlock()
		if len(all) > 0 && fits(all[len(all)-1]) {
			return all[len(all)-1]
		}
		select {
		case <-w.news:
		case <-deadline:
			w.t.Fatalf("the watch never said %s, but %q", what, all)
		}
	}
}

func (w *watched) waitFor(want string) {
	w.t.Helper()
	w.wait(want, func(last string) bool { return last == want })
}

func (w *watched) history() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.all, " ")
}

func signal(t *testing.T, cmd *exec.Cmd, s syscall.Signal) {
	t.Helper()
	if err := cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}
