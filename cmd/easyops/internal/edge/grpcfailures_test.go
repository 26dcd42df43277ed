package edge

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/registry"
)

// A service of which there is no instance is UNAVAILABLE in time, and the log is told
// once.
func TestNoInstanceToCall(t *testing.T) {
	p := newPlace(t)
	e := p.edge("grpc:\n- {service: echo.v1.EchoService, allow: EVERYONE, connect_timeout: 300ms}\n- {service: \"*\", allow: EVERYONE, connect_timeout: 300ms}\n")
	p.list("gone.v1.Service", registry.KindGRPC, deaf(t))
	cc := connect(t, e.Addr())
	for _, service := range []string{"echo.v1.EchoService", "gone.v1.Service"} {
		for range 3 {
			begun := time.Now()
			err := cc.Invoke(t.Context(), "/"+service+"/Echo", &echov1.EchoRequest{}, &echov1.EchoResponse{})
			if status.Code(err) != codes.Unavailable || strings.Contains(err.Error(), "127.0.0.1") {
				t.Errorf("%s: %v", service, err)
			}
			if took := time.Since(begun); took > 2*time.Second {
				t.Errorf("%s: it took %v", service, took)
			}
		}
	}
	if log := p.log.text(); strings.Count(log, "calls refused") != 2 {
		t.Errorf("the log is told %d times", strings.Count(log, "calls refused"))
	}
	p.behind([]easyops.Service{echov1.BindEchoServiceServer(echoServer{})})
	await(t, "an instance", func() bool {
		err := cc.Invoke(t.Context(), "/echo.v1.EchoService/Echo", &echov1.EchoRequest{}, &echov1.EchoResponse{})
		return status.Code(err) == codes.Unauthenticated // by the service
	})
}

// Whoever calls services by names of their own invention fills nothing up.
func TestInventedServices(t *testing.T) {
	p := newPlace(t)
	p.behind([]easyops.Service{echov1.BindEchoServiceServer(echoServer{})})
	e := p.edge("grpc:\n- {service: \"*\", connect_timeout: 1ms}\n- {service: echo.v1.EchoService}\n")
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer user-alice")
	cc := connect(t, e.Addr())
	for n := range maxClients + 50 {
		if err := cc.Invoke(ctx, fmt.Sprintf("/a.v1.S%d/M", n), &echov1.EchoRequest{}, &echov1.EchoResponse{}); status.Code(err) != codes.Unavailable {
			t.Fatal(err)
		}
	}
	if n := len(e.table.clients.status()); n > 1 {
		t.Errorf("there are connections to %d services, one is listed", n)
	}
	if _, err := sayTo(ctx, echov1.NewEchoServiceClient(cc), "hello"); err != nil {
		t.Error(err)
	}
}

// What the connection to a service breaks, the client learns without addresses.
func TestBrokenCalls(t *testing.T) {
	p := newPlace(t)
	s := echoServer{began: make(chan struct{}), ended: make(chan error, 1)}
	behind := p.behind([]easyops.Service{echov1.BindEchoServiceServer(s)}, easyops.WithShutdownTimeout(time.Second))
	e := p.edge("grpc:\n- {service: \"*\"}\n")
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer user-alice")
	go func() {
		<-s.began
		_ = behind.Shutdown(t.Context())
	}()
	_, err := sayTo(ctx, echov1.NewEchoServiceClient(connect(t, e.Addr())), "wait")
	if status.Code(err) != codes.Unavailable || strings.Contains(err.Error(), "127.0.0.1") {
		t.Error(err)
	}
}

// Instances that come and go cost no call.
func TestRollingRestartOfCalls(t *testing.T) {
	p := newPlace(t)
	serve := func() *easyops.Server {
		return p.behind([]easyops.Service{echov1.BindEchoServiceServer(echoServer{})}, easyops.WithDrainDelay(300*time.Millisecond))
	}
	servers := []*easyops.Server{serve(), serve()}
	e := p.edge("grpc:\n- {service: \"*\"}\n")
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer user-alice")
	c := echov1.NewEchoServiceClient(connect(t, e.Addr()))
	all := repeat(4, func() error { _, err := sayTo(ctx, c, "hello"); return err })
	all.await(50)
	for i := range servers {
		next := serve()
		all.await(50)
		if err := servers[i].Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		servers[i] = next
		all.await(50)
	}
	if errs := all.end(); len(errs) > 0 {
		t.Errorf("%d failed, %d did not: %v", len(errs), all.ok.Load(), errs[0])
	}
}
