package routing

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const usual = 40 * time.Millisecond // that a call takes

// ways in which an instance is bad.
var ways = map[string]func(context.Context) error{
	"never answers": func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	},
	"is UNAVAILABLE": func(context.Context) error { return status.Error(codes.Unavailable, "no") },
	"is faulty":      func(context.Context) error { return status.Error(codes.Internal, "no") },
	"is 50 times slower": func(ctx context.Context) error {
		time.Sleep(50 * usual)
		return nil
	},
}

// traffic is calls from 32 goroutines.
type traffic struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func startTraffic(t *testing.T, c grpc.ClientConnInterface, timeout time.Duration) *traffic {
	ctx, cancel := context.WithCancel(t.Context())
	f := &traffic{cancel: cancel}
	for range 32 {
		f.wg.Go(func() {
			for ctx.Err() == nil {
				one, cancel := context.WithTimeout(t.Context(), timeout)
				_ = c.Invoke(one, "/"+service+"/Am", &emptypb.Empty{}, &wrapperspb.StringValue{})
				cancel()
			}
		})
	}
	t.Cleanup(f.stop)
	return f
}

func (f *traffic) stop() {
	f.cancel()
	f.wg.Wait()
}

// share returns which part of the calls of some time begins at the first of the
// servers.
func share(servers []*server, d time.Duration) float64 {
	before := make([]int64, len(servers))
	for n, s := range servers {
		before[n] = s.calls.Load()
	}
	time.Sleep(d)
	all := int64(0)
	for n, s := range servers {
		before[n] = s.calls.Load() - before[n]
		all += before[n]
	}
	return float64(before[0]) / float64(max(1, all))
}

// TestBadInstance: an instance that works badly gets next to no calls, and its
// share again when it is well.
func TestBadInstance(t *testing.T) {
	for name, bad := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			servers, list := startServers(t, 3, usual)
			c := dialTo(t, newMemory(list...), 0)
			for _, s := range servers {
				want(t, c, s.id)
			}
			timeout := 200 * time.Millisecond
			if name == "is 50 times slower" { // it is in time, all the same
				timeout = time.Minute
			}
			startTraffic(t, c, timeout)
			if got := share(servers, time.Second); got < 0.2 {
				t.Fatalf("it gets %.1f %% from the beginning", 100*got)
			}
			servers[0].does(bad)
			time.Sleep(3 * time.Second)
			got := share(servers, 2*time.Second)
			if t.Logf("it gets %.2f %%", 100*got); got > 0.02 {
				t.Errorf("it gets %.1f %%, want less than 2", 100*got)
				for _, i := range c.Status().Instances {
					t.Logf("%s: %d calls, %d failures, %d ejections, until %v, %v, %d under way",
						i.ID, i.Calls, i.Failures, i.Ejections, i.EjectedUntil, i.Latency, i.InFlight)
				}
			}
			servers[0].does(nil)
			start := time.Now()
			for share(servers, 200*time.Millisecond) < 0.2 {
				if time.Since(start) > time.Minute {
					t.Fatal("it is well, but gets no calls")
				}
			}
			t.Logf("back after %v", time.Since(start))
		})
	}
}

// TestBadInstanceInTurn is the control: what does not look gives it what it gives
// others.
func TestBadInstanceInTurn(t *testing.T) {
	servers, _ := startServers(t, 3, usual)
	servers[0].does(ways["is UNAVAILABLE"])
	r := manual.NewBuilderWithScheme("inturn")
	state := resolver.State{}
	for _, s := range servers {
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: s.addr}}})
	}
	r.InitialState(state)
	cc, err := grpc.NewClient("inturn:///x", grpc.WithResolvers(r), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	f := startTraffic(t, cc, time.Second)
	time.Sleep(200 * time.Millisecond)
	if got := share(servers, time.Second); got < 0.3 {
		t.Errorf("it gets %.1f %% with round robin: the test is blind", 100*got)
	}
	f.stop()

	m := newMemory()
	for _, s := range servers {
		m.list = append(m.list, s.instance("READY"))
	}
	c := dialTo(t, m, 0)
	c.roster.allowed = func(int) int { return 0 }
	startTraffic(t, c, time.Second)
	time.Sleep(200 * time.Millisecond)
	if got := share(servers, time.Second); got < 0.2 {
		t.Errorf("it gets %.1f %% without ejections: the test is blind", 100*got)
	}
}

// TestLastIsKept: the only instance is never left out, however it fails, and of two
// that fail one is.
func TestLastIsKept(t *testing.T) {
	for n := 1; n <= 2; n++ {
		servers, list := startServers(t, n, 0)
		log := &lines{}
		c := dial(t, Config{Registry: newMemory(list...), Logger: log.logger()})
		for _, s := range servers {
			want(t, c, s.id)
		}
		for _, s := range servers {
			s.does(ways["is UNAVAILABLE"])
		}
		for range 200 {
			_, err := who(t.Context(), c)
			wantStatus(t, err, codes.Unavailable, "no")
		}
		log.await(t, n-1)
		out := 0
		for _, i := range c.Status().Instances {
			if !i.EjectedUntil.IsZero() {
				out++
			}
		}
		if out != n-1 || strings.Count(strings.Join(log.all(), "\n"), "it gets no calls") != n-1 {
			t.Errorf("of %d instances %d are ejected, and the log has %q", n, out, log.all())
		}
	}
}
