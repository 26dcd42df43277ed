package attack

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
)

// client is a client that means no harm.
type client struct{ cc *grpc.ClientConn }

func (x *target) client(t *testing.T) client { t.Helper(); return client{x.grpc(t)} }

func (c client) close() { _ = c.cc.Close() }

func (c client) echo(message string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := echov1.NewEchoServiceClient(c.cc).Echo(ctx, &echov1.EchoRequest{Message: message})
	return err
}

func (c client) health() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := healthpb.NewHealthClient(c.cc).Check(ctx, &healthpb.HealthCheckRequest{})
	return err
}

// latencies are those of a client's calls.
type latencies []time.Duration

func (l latencies) at(share float64) time.Duration {
	if len(l) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(l))
	return s[min(len(s)-1, int(share*float64(len(s))))]
}

// callUntil calls one after the other until done is closed, and at least some.
func callUntil(call func() error, done <-chan struct{}, least int) (l latencies, failed []error) {
	for {
		begun := time.Now()
		if err := call(); err != nil {
			failed = append(failed, err)
		}
		l = append(l, time.Since(begun))
		select {
		case <-done:
			if len(l) >= least {
				return l, failed
			}
		case <-time.After(200 * time.Microsecond):
		}
	}
}

// damage is what an attack did to a server.
type damage struct {
	sent   int           // how much the attacker could send
	ended  string        // what the attacker was told
	took   time.Duration // the attack
	cpu    time.Duration // of the server's
	memory int64         // the peak above what was resident before, in bytes
	peak   int64         // handlers at once
	served int64         // handlers that ran for the attacker

	calls          int // of the good client during the attack
	failed         []error
	before, during time.Duration // the good client's 99th percentile
}

func (d damage) String() string {
	return fmt.Sprintf("sent %d in %v (%s); handlers %d, at once %d; memory %+.1f MiB; cpu %v; another client: %d calls, %d failed, p99 %v, before %v",
		d.sent, d.took.Round(time.Millisecond), d.ended, d.served, d.peak, float64(d.memory)/(1<<20), d.cpu,
		d.calls, len(d.failed), d.during.Round(10*time.Microsecond), d.before.Round(10*time.Microsecond))
}

// attack sends something and returns how much of it, and what became of it.
type attack func(t *testing.T, x *target) (sent int, ended string)

// strike attacks a server while another client calls it.
func strike(t *testing.T, x *target, a attack) (d damage) {
	t.Helper()
	return strikeFor(t, x, a, 0)
}

// strikeFor is strike that watches the other client for some time at least.
func strikeFor(t *testing.T, x *target, a attack, window time.Duration) (d damage) {
	t.Helper()
	c := x.client(t)
	defer c.close()
	good := func() error { return c.echo("good") }
	d.before = quiet(good, window)
	x.calm(t)
	was, cpu, served := x.resident(t), x.cpu(t), x.reached(t).Total

	done := make(chan struct{})
	var l latencies
	var wg sync.WaitGroup
	wg.Go(func() { l, d.failed = callUntil(good, done, 100) })
	begun := time.Now()
	d.sent, d.ended = a(t, x)
	d.took = time.Since(begun)
	time.Sleep(window - d.took)
	close(done)
	wg.Wait()

	d.calls, d.during = len(l), l.at(0.99)
	_, peak := x.memory(t)
	r := x.reached(t)
	d.memory, d.peak, d.served, d.cpu = peak-was, r.Peak, r.Total-served-int64(len(l)), x.cpu(t)-cpu
	t.Logf("%s: %v", x.name, d)
	x.await(t)
	return d
}

// quiet returns the 99th percentile of calls that nobody disturbs, over the
// time of the window at least, and warms the server up.
func quiet(call func() error, window time.Duration) time.Duration {
	done := make(chan struct{})
	time.AfterFunc(window, func() { close(done) })
	l, _ := callUntil(call, done, quietCalls)
	return l.at(0.99)
}

func (x *target) resident(t *testing.T) int64 {
	t.Helper()
	now, _ := x.memory(t)
	return now
}

// mostMemory is how much an attack may cost.
const mostMemory = 16 << 20

// unharmed fails the test where an attack did what it must not.
func unharmed(t *testing.T, d damage) {
	t.Helper()
	if d.memory > mostMemory {
		t.Errorf("memory grew by %.1f MiB, want at most %d", float64(d.memory)/(1<<20), mostMemory>>20)
	}
	if len(d.failed) > 0 {
		t.Errorf("%d of %d calls of another client failed, first: %v", len(d.failed), d.calls, d.failed[0])
	}
	if d.during > 3*d.before {
		t.Logf("the 99th percentile of another client is %.1f times what it was", float64(d.during)/float64(d.before))
	}
}
