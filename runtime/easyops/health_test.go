package easyops

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/go-easyops/easyops/runtime/registry"
)

// serving asks gRPC health about a service.
func (r *rig) serving(service string) healthpb.HealthCheckResponse_ServingStatus {
	r.t.Helper()
	got, err := healthpb.NewHealthClient(r.dial()).Check(r.t.Context(), &healthpb.HealthCheckRequest{Service: service})
	wantCode(r.t, err, codes.OK)
	return got.Status
}

// wantHealth checks the state by every way there is to ask.
func (r *rig) wantHealth(state registry.Health) {
	r.t.Helper()
	synctest.Wait()
	ready := state == registry.Ready
	wantEqual(r.t, "state", r.stateNow(), state)
	want, page := healthpb.HealthCheckResponse_NOT_SERVING, 503
	if ready {
		want, page = healthpb.HealthCheckResponse_SERVING, 200
	}
	wantEqual(r.t, "gRPC health", r.serving(""), want)
	wantEqual(r.t, "gRPC health of the service", r.serving(testServiceName), want)
	code, body := r.get("/internal/health")
	if code != page || !strings.Contains(body, string(state)) || !ready && strings.Contains(body, `"READY"`) {
		r.t.Errorf("/internal/health: %d %q, want %d %s", code, body, page, state)
	}
	code, _ = r.get("/readyz")
	wantEqual(r.t, "/readyz", code, page)
	code, _ = r.get("/livez")
	wantEqual(r.t, "/livez", code, 200)
	gauge := 0.0
	if ready {
		gauge = 1
	}
	wantEqual(r.t, "easyops_ready", r.sample("easyops_ready"), gauge)
}

func TestHealthWithoutChecks(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		l, opt := newLedger(t)
		r := newRig(t, w, &funcs{}, opt)
		receives(t, "Ready", r.Ready())
		r.wantHealth(registry.Ready)
		client := healthpb.NewHealthClient(r.dial())
		list, err := client.List(t.Context(), &healthpb.HealthListRequest{})
		wantCode(t, err, codes.OK)
		if len(list.Statuses) != 2 || list.Statuses[testServiceName].GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("List: %v", list.Statuses)
		}
		_, err = client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "no.such.Service"})
		wantCode(t, err, codes.NotFound)
		wantEqual(t, "registry", l.past(), "READY")
	})
}

// flip is a check that passes or fails as it is told.
type flip struct{ fails atomic.Bool }

func (f *flip) check(context.Context) error {
	if f.fails.Load() {
		return errors.New("the disk is full")
	}
	return nil
}

func TestCheckFlips(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		var f flip
		f.fails.Store(true)
		l, opt := newLedger(t)
		r := newRig(t, w, &funcs{}, opt, WithCheck("disk", f.check), WithCheck("fine", func(context.Context) error { return nil }))
		watch, err := healthpb.NewHealthClient(r.dial()).Watch(t.Context(), &healthpb.HealthCheckRequest{Service: testServiceName})
		wantCode(t, err, codes.OK)
		wantNext := func(want healthpb.HealthCheckResponse_ServingStatus) {
			t.Helper()
			got, err := watch.Recv()
			wantCode(t, err, codes.OK)
			wantEqual(t, "Watch", got.Status, want)
		}
		wantNext(healthpb.HealthCheckResponse_NOT_SERVING)
		r.wantHealth(registry.NotReady)
		select {
		case <-r.Ready():
			t.Error("Ready is closed while a check fails")
		default:
		}
		f.fails.Store(false)
		time.Sleep(checkEvery + time.Millisecond)
		wantNext(healthpb.HealthCheckResponse_SERVING)
		r.wantHealth(registry.Ready)
		receives(t, "Ready", r.Ready())
		f.fails.Store(true)
		time.Sleep(checkEvery + time.Millisecond)
		wantNext(healthpb.HealthCheckResponse_NOT_SERVING)
		r.wantHealth(registry.NotReady)
		// A server that is not ready serves all the same.
		_, err = r.client().UnaryCall(t.Context(), &testpb.SimpleRequest{})
		wantCode(t, err, codes.OK)
		f.fails.Store(false)
		time.Sleep(checkEvery + time.Millisecond)
		r.wantHealth(registry.Ready)
		if err := r.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		wantEqual(t, "registry", l.past(), "NOT_READY READY NOT_READY READY STOPPING gone")
		fails, passes := r.log.lines("check fails: the server is not ready"), r.log.lines("check passes again")
		if len(fails) != 2 || len(passes) != 2 {
			t.Errorf("log: %v %v", fails, passes)
		}
		for _, line := range slices.Concat(fails, passes) {
			wantEqual(t, "check", line.text("check"), "disk")
		}
	})
}

func TestStartingUntilTheFirstRound(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		release := make(chan struct{})
		l, opt := newLedger(t)
		r := newRig(t, w, &funcs{}, opt, WithCheck("slow", func(ctx context.Context) error {
			select {
			case <-release:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}))
		r.wantHealth(registry.Starting)
		wantEqual(t, "registry", l.past(), "")
		close(release)
		r.wantHealth(registry.Ready)
		wantEqual(t, "registry", l.past(), "READY")
	})
}

// resultOf returns the last result of a check, as the pages have it.
func (r *rig) resultOf(name string) error {
	r.t.Helper()
	for _, c := range r.healthPage(context.Background()).Checks {
		if c.Name == name {
			return c.Err
		}
	}
	r.t.Fatalf("no check %s", name)
	return nil
}

func TestCheckThatHangs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, ways[0], &funcs{}, WithCheck("hangs", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }))
		time.Sleep(checkTimeout + time.Millisecond)
		r.wantHealth(registry.NotReady)
		if err := r.resultOf("hangs"); err == nil {
			t.Error("the check that hangs has no error")
		}
	})
}

func TestCheckThatPanics(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var calm atomic.Bool
		r := newRig(t, ways[0], &funcs{}, WithCheck("panics", func(context.Context) error {
			if !calm.Load() {
				panic(secret)
			}
			return nil
		}))
		r.wantHealth(registry.NotReady)
		if err := r.resultOf("panics"); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("result: %v", err)
		}
		wantEqual(t, "in", r.log.one(t, "panic").text("in"), "WithCheck panics")
		wantEqual(t, "panics counted", r.sample("easyops_panics_total", "where", "callback"), 1)
		calm.Store(true)
		time.Sleep(checkEvery + time.Millisecond)
		r.wantHealth(registry.Ready)
	})
}

// A check that ignores its context makes the server not ready, is not run a
// second time beside itself, and is named when the server stops.
func TestCheckThatIgnoresItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var running, most atomic.Int32
		release := make(chan struct{})
		r := newRig(t, ways[0], &funcs{}, WithShutdownTimeout(10*time.Second), WithCheck("deaf", func(context.Context) error {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			<-release
			return nil
		}))
		time.Sleep(time.Minute)
		wantEqual(t, "runs at the same time", most.Load(), 1)
		r.wantHealth(registry.NotReady)
		if err := r.resultOf("deaf"); err == nil || !strings.Contains(err.Error(), "ignores its context") {
			t.Errorf("result: %v", err)
		}
		close(release)
		time.Sleep(2 * checkEvery)
		r.wantHealth(registry.Ready)
	})
	inBubble(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		r := newRig(t, ways[0], &funcs{}, WithShutdownTimeout(10*time.Second), WithCheck("deaf", func(context.Context) error { <-release; return nil }))
		synctest.Wait() // it runs
		begun := time.Now()
		if err := r.Shutdown(t.Context()); err != nil {
			t.Errorf("Wait: %v", err)
		}
		wantWithin(t, "the stop", begun, 0, time.Second)
		wantEqual(t, "what goes on", r.log.one(t, "still running after the stop").text("function"), "WithCheck deaf")
	})
}

// Two checks of one name must not hide each other.
func TestChecksOfOneName(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, err := Start([]Service{(&funcs{}).service()}, WithFlags(nil), WithRegistry("none"), WithLogger((&logBook{}).logger()), WithListener(listenInMemory()),
			WithCheck("same", func(context.Context) error { return errors.New("fails") }),
			WithCheck("same", func(context.Context) error { time.Sleep(time.Millisecond); return nil })) // ends last
		if err != nil {
			return // refused, which is one way not to hide it
		}
		time.Sleep(time.Second)
		wantEqual(t, "state", s.stateNow(), registry.NotReady)
		_ = s.Shutdown(ended())
	})
}

func TestStoppingIsFinal(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		var f flip
		l, opt := newLedger(t)
		r := newRig(t, w, &funcs{}, opt, WithCheck("disk", f.check), WithDrainDelay(20*time.Second))
		r.wantHealth(registry.Ready)
		stopped := r.goShutdown(context.Background())
		for _, fails := range []bool{true, false} {
			f.fails.Store(fails)
			time.Sleep(checkEvery + time.Second)
			r.runChecks()
			r.setState(registry.Ready)
			r.wantHealth(registry.Stopping)
			wantEqual(t, "registry", l.past(), "READY STOPPING")
		}
		if err := receives(t, "the stop", stopped); err != nil {
			t.Error(err)
		}
		wantEqual(t, "registry", l.past(), "READY STOPPING gone")
		wantEqual(t, "state", r.stateNow(), registry.Stopping)
	})
}

func TestWithoutRegistration(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l, opt := newLedger(t)
		r := newRig(t, ways[0], &funcs{}, opt, WithoutRegistration())
		receives(t, "Ready", r.Ready())
		if err := r.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		wantEqual(t, "registry", l.past(), "")
	})
}
