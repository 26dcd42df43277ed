package edge

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// canName: others may see that there is a socket, where the kernel tells who connects.
const canName = true

func processOfTests() int { return os.Getpid() }

func socketPair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for n, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		ends[n] = c.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

const stranger = 4242

func init() {
	parts["stranger"] = func() int {
		if err := syscall.Setuid(stranger); err != nil {
			return 3
		}
		conn, err := net.Dial("unix", os.Getenv("EDGE_TEST_SOCKET"))
		if err != nil {
			return 4
		}
		defer conn.Close()
		if n, _ := conn.Read(make([]byte, 1)); n > 0 {
			return 5
		}
		return 0
	}
}

// TestStranger: another user gets nothing, even where the socket is open to all. And
// nothing is taken from the edge of another user.
func TestStranger(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	path := socketIn(t)
	first := newSide(t, "first", someListeners(t, 1)...)
	openDoorAt(t, path, first)
	for dir := path; dir != "/"; dir = dir[:max(1, strings.LastIndex(dir, "/"))] {
		if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o005 != 0o005 {
			if err := os.Chmod(dir, 0o777); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Chmod(dir, info.Mode().Perm()) })
		}
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "EDGE_TEST_PART=stranger", "EDGE_TEST_SOCKET="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the other user: %v\n%s", err, out)
	}
	if err := askOnce(first.listeners[0].Addr().String()); err != nil {
		t.Error(err)
	}
}
