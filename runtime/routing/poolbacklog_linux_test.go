package routing

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// fullBacklog returns the address of a socket that answers nobody any more, as a host
// does that is gone: the kernel drops what comes.
func fullBacklog(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	to := name.(*syscall.SockaddrInet4)
	for range 2 { // that is one more than there is room for
		c, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Close(c) })
		if err := syscall.Connect(c, to); err != nil && err != syscall.EINPROGRESS {
			t.Fatal(err)
		}
	}
	return fmt.Sprint("127.0.0.1:", to.Port)
}

// TestPoolFullBacklog: with a real address that does not answer, one connection is
// held up for half a second, and fails after ConnectTimeout where there is no other.
func TestPoolFullBacklog(t *testing.T) {
	hole, b := fullBacklog(t), listenAs(t, "b")
	p := openPool(t, PoolConfig{Registry: newMemory(tcp("hole", "at="+hole), b.instance())})
	var slowest time.Duration
	for range 20 {
		start := time.Now()
		conn, _, err := p.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, time.Since(start))
		if got := hear(t, conn); got != "b" {
			t.Errorf("%s answers", got)
		}
	}
	if slowest < headStart || slowest > headStart+slack {
		t.Errorf("the slowest took %v, want %v once", slowest, headStart)
	}

	const timeout = 300 * time.Millisecond
	p = openPool(t, PoolConfig{Registry: newMemory(tcp("hole", "at="+hole)), ConnectTimeout: timeout, MaxWait: -1})
	start := time.Now()
	_, _, err := p.Dial(t.Context())
	wantNone(t, err, "i/o timeout", hole, "lists 1, 1 READY")
	if took := time.Since(start); took < timeout || took > timeout+slack {
		t.Errorf("it took %v", took)
	}
}
