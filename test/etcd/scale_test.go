package etcd

import (
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/go-easyops/easyops/runtime/registry"
)

// TestScale lists many instances and changes some; it logs what that costs.
// CPU and memory are those of the process, in which etcd runs as well.
func TestScale(t *testing.T) {
	c := startEtcd(t, 1)
	cl := client(t, c.Endpoints())
	const most = 5 * time.Second // for the first list: the race detector is on
	value := func(n, port int) string {
		return fmt.Sprintf(`{"Op":0,"Addr":"10.%d.%d.7:%d","Metadata":{"v":1,"id":"i%05d","kinds":["grpc","status"],"health":"READY",`+
			`"version":"v1.2.3","tags":{"zone":"a"},"owner":"","status_addr":"","started":"2026-11-22T10:00:00Z"}}`, n/250, n%250, port, n)
	}
	for n := 0; n < instances; n += 100 {
		var ops []clientv3.Op
		for m := n; m < n+100; m++ {
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("easyops/echo/i%05d", m), value(m, 4100)))
		}
		if _, err := cl.Txn(t.Context()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}

	before := heap()
	began := time.Now()
	w := watch(t, open(t, c.URL()), "echo")
	var got []registry.Instance
	await(t, "all are listed", most, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		got = w.list
		return len(got) == instances
	})
	t.Logf("%d instances listed after %v, %d bytes each with the caller's list", instances, time.Since(began), (heap()-before)/instances)
	runtime.KeepAlive(got)

	cpu, began := cpuTime(), time.Now()
	for n := range changes {
		put(t, cl, fmt.Sprintf("easyops/echo/i%05d", n%instances), value(n%instances, 4101))
		time.Sleep(time.Until(began.Add(time.Duration(n+1) * 10 * time.Millisecond)))
	}
	took := time.Since(began)
	t.Logf("%d changes in %v: %.1f %% of a core", changes, took, 100*float64(cpuTime()-cpu)/float64(took))
	await(t, "the last change is told", most, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.list) == instances && strings.HasSuffix(w.list[(changes-1)%instances].Addr, ":4101")
	})
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
