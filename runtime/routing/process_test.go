package routing

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/registry/local"
)

// childDir is the variable that makes the test binary an instance, which is
// listed in the local registry in that directory until it is killed.
const childDir = "EASYOPS_TEST_CHILD_DIR"

func child(dir string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	s := newServer(registry.NewID(), l.Addr().String(), time.Millisecond)
	go func() { _ = s.grpc.Serve(l) }()
	r, err := local.Open(dir, slog.Default())
	if err != nil {
		panic(err)
	}
	registry.NewPublisher(r, slog.Default()).Set([]registry.Instance{s.instance(registry.Ready)})
	fmt.Println(s.id)
	select {}
}

// startProcess starts an instance of its own process and returns its ID.
func startProcess(t *testing.T, dir string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.CommandContext(context.Background(), os.Args[0])
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
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the process says nothing")
	}
	return cmd, lines.Text()
}

// Instances in processes of their own are found, and left when they are
// killed: only calls that were under way there fail.
func TestProcessKilledUnderLoad(t *testing.T) {
	const callers = 10
	dir := t.TempDir() + "/reg"
	r, err := local.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, Config{Registry: r})
	one, idOne := startProcess(t, dir)
	want(t, c, idOne)
	_, idTwo := startProcess(t, dir)
	want(t, c, idTwo)

	l := startLoad(t, c, callers)
	if err := one.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	l.more(t, 50*callers)
	failed := l.stop()
	if len(failed) > callers {
		t.Errorf("%d calls failed, at most %d were under way: %v", len(failed), callers, failed[0])
	}
	for _, err := range failed {
		wantStatus(t, err, codes.Unavailable)
	}
	deadline := time.Now().Add(10 * time.Second)
	for left := c.Instances(); len(left) != 1 || left[0].ID != idTwo; left = c.Instances() {
		if time.Now().After(deadline) {
			t.Fatalf("instances %v, want only %s", left, idTwo)
		}
		time.Sleep(time.Millisecond)
	}
}
