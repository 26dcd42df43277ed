package etcd

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
	etcdresolver "go.etcd.io/etcd/client/v3/naming/resolver"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/go-easyops/easyops/runtime/registry"
)

// TestTheirResolver calls an instance of ours that etcd's own resolver finds.
func TestTheirResolver(t *testing.T) {
	c := startEtcd(t, 1)
	cl := client(t, c.Endpoints())
	addr := serveHealth(t)
	list := entries("one", registry.Ready, "echo.v1.EchoService")
	list[0].Addr = addr
	l := register(t, open(t, c.URL()), list)

	builder, err := etcdresolver.NewBuilder(cl)
	if err != nil {
		t.Fatal(err)
	}
	cc, err := grpc.NewClient("etcd:///easyops/echo.v1.EchoService", grpc.WithResolvers(builder), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := healthpb.NewHealthClient(cc).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}

	m, err := endpoints.NewManager(cl, "easyops/echo.v1.EchoService")
	if err != nil {
		t.Fatal(err)
	}
	all, err := m.List(ctx)
	if e := all["easyops/echo.v1.EchoService/one"]; err != nil || len(all) != 1 || e.Addr != addr {
		t.Errorf("they list %v, %v", all, err)
	}
	if err := l.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if all, err := m.List(ctx); err != nil || len(all) != 0 {
		t.Errorf("they list %v, %v", all, err)
	}
}

func serveHealth(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	healthpb.RegisterHealthServer(s, health.NewServer())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(lis) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return lis.Addr().String()
}

// TestTheirEndpoints has us find what etcd's own package wrote.
func TestTheirEndpoints(t *testing.T) {
	c := startEtcd(t, 1)
	cl := client(t, c.Endpoints())
	w := watch(t, open(t, c.URL()+"/apps"), "billing")
	m, err := endpoints.NewManager(cl, "apps/billing")
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	lease, err := cl.Grant(ctx, 60)
	if err != nil {
		t.Fatal(err)
	}
	for key, e := range map[string]endpoints.Endpoint{
		"apps/billing/e1":             {Addr: "10.0.0.1:80"},
		"apps/billing/10.0.0.2:80":    {Addr: "10.0.0.2:80", Metadata: map[string]any{"weight": 7}},
		"apps/billing/zone-a/nowhere": {Addr: "not an address"},
	} {
		if err := m.AddEndpoint(ctx, key, e, clientv3.WithLease(lease.ID)); err != nil {
			t.Fatal(err)
		}
	}
	w.waitUntil("two instances", 5*time.Second, func(last string) bool {
		return strings.Count(last, "=READY") == 2 && strings.Contains(last, "e1=READY") && strings.Contains(last, "10-0-0-2-80-")
	})
	w.mu.Lock()
	for _, i := range w.list {
		if len(i.Kinds) != 1 || i.Kinds[0] != registry.KindGRPC || !strings.HasPrefix(i.Addr, "10.0.0.") {
			t.Errorf("found %+v", i)
		}
	}
	w.mu.Unlock()
	if err := m.DeleteEndpoint(ctx, "apps/billing/10.0.0.2:80"); err != nil {
		t.Fatal(err)
	}
	w.waitFor("[e1=READY]", 5*time.Second)
}
