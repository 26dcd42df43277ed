// Package cluster tests services on an etcd: real processes, a real etcd, and
// what happens to both.
package cluster

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/go-easyops/easyops/test/etcdserver"
	"github.com/go-easyops/easyops/test/serve"
)

func TestMain(m *testing.M) {
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // the servers': a second between their last act and their end
	flag.Parse()
	_ = flag.Set("test.parallel", "8") // they wait for leases to end, which takes no processor
	goleak.VerifyTestMain(m, append(etcdserver.Leftovers(), goleak.Cleanup(func(code int) {
		serve.Remove()
		os.Exit(code)
	}))...)
}
