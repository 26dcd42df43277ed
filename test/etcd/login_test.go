package etcd

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"

	"github.com/go-easyops/easyops/runtime/registry"
)

// slowLogin is longer than anybody waits for an answer of etcd.
const slowLogin = 4 * time.Second

// TestSlowLogins has etcd be slow to log in, as it is where all processes want
// that at once, after a restart. Who does not get in in time does not ask again
// meanwhile, and is registered in the end; streams that break need no login.
func TestSlowLogins(t *testing.T) {
	t.Parallel()
	var logins atomic.Int32
	var slow atomic.Bool
	count := func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if strings.HasSuffix(info.FullMethod, "/Authenticate") {
			logins.Add(1)
			if slow.Load() {
				time.Sleep(slowLogin)
			}
		}
		return handler(ctx, req)
	}
	c := startEtcd(t, 1, func(cfg *embed.Config) {
		cfg.BcryptCost = 4
		cfg.GRPCAdditionalServerOptions = []grpc.ServerOption{grpc.ChainUnaryInterceptor(count)}
	})
	enableUsers(t, c)
	slow.Store(true)
	logins.Store(0)

	proxy := newProxy(t, c)
	r := open(t, fmt.Sprintf("etcd://echo@%s?password-file=%s", proxy.Addr(), passwordFile(t, "echo")))
	p := publish(t, r, entries("one", registry.Ready, "echo.v1.EchoService"))
	w := watch(t, r, "echo.v1.EchoService")
	w.waitFor("[one=READY]", slowLogin+5*time.Second)
	if n := logins.Load(); n != 1 {
		t.Errorf("%d logins to register, want 1", n)
	}
	for range 5 {
		time.Sleep(time.Second)
		proxy.Drop()
	}
	await(t, "etcd answers", 5*time.Second, func() bool { return time.Since(r.LastAnswer()) < time.Second })
	if n := logins.Load(); n != 1 {
		t.Errorf("%d logins with streams that broke, want 1", n)
	}

	// All tokens are gone.
	c.Stop(0)
	if err := c.Restart(0); err != nil {
		t.Fatal(err)
	}
	logins.Store(0)
	await(t, "etcd takes a new token", 20*time.Second, func() bool {
		return logins.Load() > 0 && p.State() == registry.Registered && time.Since(r.LastAnswer()) < time.Second
	})
	time.Sleep(slowLogin + leaseTime)
	w.waitFor("[one=READY]", 5*time.Second)
	if n := logins.Load(); n != 1 || p.State() != registry.Registered {
		t.Errorf("%d logins after a restart, want 1; state %s", n, p.State())
	}
}
