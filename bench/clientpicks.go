package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	plaintext "google.golang.org/grpc/credentials/insecure"
	estats "google.golang.org/grpc/experimental/stats"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/go-easyops/easyops/runtime/routing"
)

// balancers are those whose pickers are compared, by client.
var balancers = map[string]string{
	ours: "easyops_less_loaded", roundRobin: roundRobin, roundRobinAgain: roundRobin, pickFirst: pickFirst,
}

// picked is what choosing an instance takes, and the end of its call.
type picked struct {
	Alone, Together float64 // ns of CPU each: one after the other, and where all processors choose
	Mallocs         float64 // each
}

// picks measures the picker of one variant alone, with connections that are none.
func picks(args []string) error {
	fs := flag.NewFlagSet("picks", flag.ExitOnError)
	variant := fs.String("variant", ours, "the client")
	instances := fs.Int("instances", 16, "how many are connected")
	number := fs.Int("picks", 1_000_000, "how many")
	_ = fs.Parse(args) // it exits

	p, err := pickerOf(balancers[*variant], *instances)
	if err != nil {
		return fmt.Errorf("%s: %w", *variant, err)
	}
	if err := pick(p, *number/10); err != nil { // warms up
		return err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := picked{Alone: cpuOfEach(*number, 1, p)}
	runtime.ReadMemStats(&after)
	r.Mallocs = float64(after.Mallocs-before.Mallocs) / float64(*number)
	r.Together = cpuOfEach(*number, runtime.GOMAXPROCS(0), p)
	return json.NewEncoder(os.Stdout).Encode(r)
}

// cpuOfEach returns the ns of CPU that each takes of n, so many at once.
func cpuOfEach(n, at int, p balancer.Picker) float64 {
	var wg sync.WaitGroup
	begin := cpuNow()
	for range at {
		wg.Go(func() { _ = pick(p, n/at) }) // it had no error before
	}
	wg.Wait()
	return float64(cpuNow()-begin) / float64(n)
}

// pick chooses an instance again and again. Each call ends before the next.
func pick(p balancer.Picker, n int) error {
	type key struct{}
	info := balancer.PickInfo{FullMethodName: "/" + crowdService + "/Echo", Ctx: context.WithValue(context.Background(), key{}, n)}
	ended := balancer.DoneInfo{BytesSent: true, BytesReceived: true}
	for range n {
		r, err := p.Pick(info)
		if err != nil {
			return err
		}
		if r.Done != nil {
			r.Done(ended)
		}
	}
	return nil
}

// pickerOf returns the picker of a balancer all of whose instances are connected.
func pickerOf(name string, instances int) (balancer.Picker, error) {
	if err := linkOurs(); err != nil {
		return nil, err
	}
	b := balancer.Get(name)
	if b == nil {
		return nil, fmt.Errorf("there is no balancer %q", name)
	}
	var s balancer.ClientConnState
	if name == balancers[ours] { // it parses no config but Dial's
		s.BalancerConfig = struct {
			serviceconfig.LoadBalancingConfig
		}{}
	} else if p, ok := b.(balancer.ConfigParser); ok {
		var err error
		if s.BalancerConfig, err = p.ParseConfig(json.RawMessage("{}")); err != nil {
			return nil, err
		}
	}
	h := &stage{}
	lb := b.Build(h, balancer.BuildOptions{})
	defer lb.Close()
	for n := range instances {
		s.ResolverState.Endpoints = append(s.ResolverState.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: fmt.Sprintf("127.0.%d.%d:1", n>>8, n&255)}}})
	}
	if err := lb.UpdateClientConnState(s); err != nil {
		return nil, err
	}
	h.connect()
	if h.state.ConnectivityState != connectivity.Ready {
		return nil, errors.New("it is not ready")
	}
	return h.state.Picker, pick(h.state.Picker, 1)
}

// linkOurs makes the balancer of easyops one that can be had: a program that dials
// nothing has none.
func linkOurs() error {
	conn, err := routing.Dial(routing.Config{Service: crowdService, Target: "127.0.0.1:1"}, grpc.WithTransportCredentials(plaintext.NewCredentials()))
	if err != nil {
		return err
	}
	return conn.Close()
}

// stage is what a balancer sees of gRPC.
type stage struct {
	balancer.ClientConn // nil: the rest is not asked for
	state               balancer.State
	waiting             []func()
}

// connect brings about what balancers wait for.
func (s *stage) connect() {
	for len(s.waiting) > 0 {
		next := s.waiting[0]
		s.waiting = s.waiting[1:]
		next()
	}
}

// NewSubConn implements [balancer.ClientConn].
func (s *stage) NewSubConn(_ []resolver.Address, opts balancer.NewSubConnOptions) (balancer.SubConn, error) {
	return &prop{stage: s, tell: opts.StateListener}, nil
}

// UpdateState implements [balancer.ClientConn].
func (s *stage) UpdateState(state balancer.State) { s.state = state }

// ResolveNow implements [balancer.ClientConn].
func (s *stage) ResolveNow(resolver.ResolveNowOptions) {}

// MetricsRecorder implements [balancer.ClientConn].
func (s *stage) MetricsRecorder() estats.MetricsRecorder { return deaf{} }

// deaf takes metrics of gRPC and keeps none.
type deaf struct{ estats.MetricsRecorder }

// RecordInt64Count implements [estats.MetricsRecorder].
func (deaf) RecordInt64Count(*estats.Int64CountHandle, int64, ...string) {}

// RecordInt64UpDownCount implements [estats.MetricsRecorder].
func (deaf) RecordInt64UpDownCount(*estats.Int64UpDownCountHandle, int64, ...string) {}

// prop is a connection that is none.
type prop struct {
	balancer.SubConn
	stage  *stage
	tell   func(balancer.SubConnState)
	closed atomic.Bool
}

// Connect implements [balancer.SubConn].
func (p *prop) Connect() {
	for _, state := range []connectivity.State{connectivity.Connecting, connectivity.Ready} {
		p.stage.waiting = append(p.stage.waiting, func() {
			if !p.closed.Load() {
				p.tell(balancer.SubConnState{ConnectivityState: state})
			}
		})
	}
}

// RegisterHealthListener implements [balancer.SubConn].
func (p *prop) RegisterHealthListener(tell func(balancer.SubConnState)) {
	p.stage.waiting = append(p.stage.waiting, func() {
		if !p.closed.Load() {
			tell(balancer.SubConnState{ConnectivityState: connectivity.Ready})
		}
	})
}

// Shutdown implements [balancer.SubConn].
func (p *prop) Shutdown() { p.closed.Store(true) }
