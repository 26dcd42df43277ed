package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer/randomsubsetting"
	plaintext "google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/stats"

	"github.com/go-easyops/easyops/bench/serving"
	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/routing"
)

// The clients that are compared, but for ours: balancers of grpc-go.
const (
	roundRobin = "round_robin"
	subsetting = "random_subsetting" // round_robin over as many as easyops connects to
	pickFirst  = "pick_first"
)

// policies are their service configs.
var policies = map[string]string{
	roundRobin: `{"round_robin":{}}`,
	subsetting: fmt.Sprintf(`{%q:{"subsetSize":%d,"childPolicy":[{"round_robin":{}}]}}`, randomsubsetting.Name, routing.DefaultSubset),
	pickFirst:  `{"pick_first":{}}`,
}

// discovered is what a client needed for a list of instances.
type discovered struct {
	Answered bool          // a call was, within the limit
	First    time.Duration // from Dial to the answer of the first call
	FirstCPU time.Duration // of the process, from Dial to there
	Settled  bool          // it came to rest, within the limit
	RestCPU  time.Duration // from Dial to there, or to the limit
	Changes  int64         // that were made then
	Changing time.Duration // how long that took
	LoadCPU  time.Duration // while they were made
	Heap     int64         // bytes in use at the end
	RSS      int64         // bytes at the end
	Conns    int64         // open at the end
}

// discover is a client of one variant: it calls once, comes to rest, and then
// takes in changes for a while. It writes what that took.
func discover(args []string) error {
	fs := flag.NewFlagSet("discover", flag.ExitOnError)
	variant := fs.String("variant", ours, "the client")
	c := &crowd{}
	fs.IntVar(&c.size, "instances", 16, "how many are listed")
	fs.IntVar(&c.port, "port", 0, "where the server listens")
	limit := fs.Duration("limit", time.Minute, "how long it has to come to rest")
	changing := fs.Duration("changing", time.Second, "how long it takes in changes")
	profile := fs.String("profile", "", "a file for a CPU profile")
	_ = fs.Parse(args) // it exits

	stop, err := serving.StartProfile(*profile)
	if err != nil {
		return err
	}
	defer stop()
	d, err := c.measure(*variant, *limit, *changing)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(d)
}

func (c *crowd) measure(variant string, limit, changing time.Duration) (d discovered, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	open := &counter{}
	begin, base := time.Now(), cpuNow()
	conn, err := c.dial(variant, open)
	if err != nil {
		return d, err
	}
	defer conn.Close()
	call := callOf(ctx, echov1.NewEchoServiceClient(conn), unary)
	if err := call(); err == nil {
		d.Answered, d.First, d.FirstCPU = true, time.Since(begin), cpuNow()-base
		d.Settled = atRest(ctx)
	} else if ctx.Err() == nil {
		return d, err
	}
	d.RestCPU = cpuNow() - base
	if d.Settled {
		c.takeChanges(&d, changing)
		again, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		if err := callOf(again, echov1.NewEchoServiceClient(conn), unary)(); err != nil {
			return d, err
		}
	}
	d.Conns = open.n.Load()
	return d, d.memory()
}

func (c *crowd) takeChanges(d *discovered, changing time.Duration) {
	begin, base := time.Now(), cpuNow()
	c.changing.Store(true)
	time.Sleep(changing)
	c.changing.Store(false)
	d.Changes, d.Changing, d.LoadCPU = c.changes.Load(), time.Since(begin), cpuNow()-base
}

// memory notes what the process has: garbage counts as a part of its RSS alone.
func (d *discovered) memory() error {
	u, err := serving.OwnUsage()
	d.RSS = u.RSS
	runtime.GC()
	runtime.GC() // what the first one finalized
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	d.Heap = int64(m.HeapAlloc)
	return err
}

const (
	restWindow  = 250 * time.Millisecond
	restWindows = 4               // with little to do, one after the other
	restCPU     = restWindow / 20 // is little
)

// atRest waits until the process has done what it had to do.
func atRest(ctx context.Context) bool {
	for quiet, before := 0, cpuNow(); quiet < restWindows; {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(restWindow):
		}
		now := cpuNow()
		if quiet++; now-before > restCPU {
			quiet = 0
		}
		before = now
	}
	return true
}

// cpuNow is what the process has used.
func cpuNow() time.Duration {
	u, _ := serving.OwnUsage() // it was asked before
	return u.CPU
}

// client is a Conn of any kind.
type client interface {
	grpc.ClientConnInterface
	Close() error
}

// dial returns a client of the variant. It does not connect yet. Its connections are
// not counted where open is nil.
func (c *crowd) dial(variant string, open *counter) (client, error) {
	opts := []grpc.DialOption{grpc.WithTransportCredentials(plaintext.NewCredentials())}
	if open != nil {
		opts = append(opts, grpc.WithStatsHandler(open))
	}
	if variant == ours {
		return routing.Dial(routing.Config{Service: crowdService, Registry: c}, opts...)
	}
	policy, ok := policies[variant]
	if !ok {
		return nil, errors.New("there is no such client: " + variant)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := manual.NewBuilderWithScheme("crowd")
	r.CloseCallback = cancel
	r.BuildCallback = func(resolver.Target, resolver.ClientConn, resolver.BuildOptions) {
		go func() { _ = c.watch(ctx, func(list []registry.Instance) { r.UpdateState(stateOf(list)) }) }()
	}
	return grpc.NewClient("crowd:///"+crowdService, append(opts,
		grpc.WithResolvers(r), grpc.WithNoProxy(), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[`+policy+`]}`))...)
}

// stateOf returns the instances that are ready, as gRPC takes them.
func stateOf(list []registry.Instance) (s resolver.State) {
	for n := range list {
		if list[n].Health == registry.Ready {
			s.Endpoints = append(s.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: list[n].Addr}}})
		}
	}
	return s
}

// counter counts the connections of a client.
type counter struct{ n atomic.Int64 }

// HandleConn implements [stats.Handler].
func (c *counter) HandleConn(_ context.Context, s stats.ConnStats) {
	switch s.(type) {
	case *stats.ConnBegin:
		c.n.Add(1)
	case *stats.ConnEnd:
		c.n.Add(-1)
	}
}

// TagConn implements [stats.Handler].
func (c *counter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleRPC implements [stats.Handler].
func (c *counter) HandleRPC(context.Context, stats.RPCStats) {}

// TagRPC implements [stats.Handler].
func (c *counter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }
