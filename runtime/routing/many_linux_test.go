package routing

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// spread lists a server that listens everywhere as many instances, each at an
// address of its own.
func spread(t *testing.T, n int) []registry.Instance {
	s := startServerAt(t, "one", "0.0.0.0:0", 0)
	_, port, _ := net.SplitHostPort(s.addr)
	list := crowd(n)
	for k := range list {
		list[k].Addr = fmt.Sprintf("127.%d.%d.%d:%s", 1+k>>16, k>>8&255, 1+k&255, port)
	}
	return list
}

func cpu(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Skip(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestManyInstances: the first call among 10,000 instances, and changes of them.
func TestManyInstances(t *testing.T) {
	list := spread(t, 10_000)
	m := newMemory(list...)
	c := dialTo(t, m, 0)
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second+slack)
	defer cancel()
	if _, err := who(ctx, c); err != nil {
		t.Fatal(err)
	}
	first := time.Since(start)
	if got := len(c.Status().Instances); got != DefaultSubset {
		t.Errorf("%d instances are connected", got)
	}
	const changes = 100
	before := cpu(t)
	for n := range changes {
		last := c.Status().ListedAt
		m.say(nil, append(list[:n:n], list[n+1:]...)...)
		for c.Status().ListedAt.Equal(last) {
			time.Sleep(time.Millisecond)
		}
	}
	t.Logf("first call after %v, %v of CPU for each change", first, (cpu(t)-before)/changes)
}
