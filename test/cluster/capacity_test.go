package cluster

import (
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/go-easyops/easyops/runtime/registry"
)

// TestCapacity registers many servers, each over a connection of its own, and
// logs what they cost while nothing happens. etcd is in the same process, so the
// figures are those of both sides together.
func TestCapacity(t *testing.T) {
	if !full {
		t.Skip("takes half a minute: make test-real")
	}
	const servers, minute = 1000, 20 * time.Second
	c := startEtcd(t, 1)
	before := resident(t)
	for n := range servers {
		reg, err := registry.Open(fmt.Sprintf("%s/p%d", c.URL(), n), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		lease, err := reg.Register(t.Context(), []registry.Instance{{
			ID: registry.NewID(), Service: service, Addr: "10.0.0.1:" + strconv.Itoa(1000+n), Version: "v1.2.3", Started: time.Now(),
			Kinds: []registry.Kind{registry.KindGRPC, registry.KindStatus}, Health: registry.Ready, Tags: map[string]string{"zone": "a"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = lease.Close(t.Context()) // etcd goes with it
			_ = reg.Close()
		})
	}
	resp, err := c.client.Get(t.Context(), "p0/"+service+"/", clientv3.WithPrefix())
	if err != nil || len(resp.Kvs) != 1 {
		t.Fatalf("%v, %v", resp, err)
	}
	t.Logf("an entry is %d bytes", len(resp.Kvs[0].Key)+len(resp.Kvs[0].Value))
	runtime.GC()
	t.Logf("%d KiB for each of %d servers", (resident(t)-before)/servers, servers)
	cpu := processorTime(t)
	time.Sleep(minute)
	cpu = processorTime(t) - cpu
	t.Logf("%.1f %% of a core, %v each second for each of them", 100*cpu.Seconds()/minute.Seconds(), cpu/servers/(minute/time.Second))
}

// resident is the memory of this process, in KiB.
func resident(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	_, size, _ := strings.Cut(string(text), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(size)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
