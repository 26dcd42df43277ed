package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-easyops/easyops/bench/serving"
	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/registry"
)

// roundRobinAgain is round_robin once more: how far figures differ by chance.
const roundRobinAgain = "round_robin again"

// stood is what a client has when it is connected and at rest.
type stood struct {
	Settled bool          // it came to rest, within the limit
	CPU     time.Duration // of the process, from Dial to there
	RSS     int64         // bytes
	Heap    int64         // bytes in use
}

// clientJob is what a client is asked for.
type clientJob struct {
	Concurrency int
	Duration    time.Duration
}

// clientOutcome is what its calls needed of the client alone.
type clientOutcome struct {
	Calls          int
	Elapsed, CPU   time.Duration
	Mallocs, Bytes uint64
}

// clientProcess is a client of one variant, as its users have it. It connects,
// says what it has at rest, and then does the jobs that it reads, one a line.
func clientProcess(args []string) error {
	fs := flag.NewFlagSet("client", flag.ExitOnError)
	variant := fs.String("variant", ours, "the client")
	c := &crowd{}
	fs.IntVar(&c.size, "instances", 16, "how many are listed")
	fs.IntVar(&c.port, "port", 0, "where the server listens")
	limit := fs.Duration("limit", time.Minute, "how long it has to come to rest")
	profile := fs.String("profile", "", "a file for a CPU profile")
	_ = fs.Parse(args) // it exits

	conn, err := c.dialAsUsers(*variant)
	if err != nil {
		return err
	}
	defer conn.Close()
	s, err := stand(echov1.NewEchoServiceClient(conn), *limit)
	if err != nil {
		return err
	}
	stop, err := serving.StartProfile(*profile)
	if err != nil {
		return err
	}
	defer stop()
	answers := json.NewEncoder(os.Stdout)
	if err := answers.Encode(s); err != nil {
		return err
	}
	return doClientJobs(json.NewDecoder(os.Stdin), answers, echov1.NewEchoServiceClient(conn))
}

// dialAsUsers returns a client of the variant, without anything that is only for
// measuring: easyops by its Dial, with its logger and its tokens.
func (c *crowd) dialAsUsers(variant string) (client, error) {
	if variant == roundRobinAgain {
		variant = roundRobin
	}
	if variant != ours {
		return c.dial(variant, nil)
	}
	return easyops.Dial(crowdService, easyops.WithRegistry(c.asRegistry()), easyops.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, nil))))
}

// crowdURL names the crowd of a process where a registry is named.
const crowdURL = "crowd"

// asRegistry makes the crowd a registry that is opened by the URL it returns.
func (c *crowd) asRegistry() string {
	registry.RegisterDriver(crowdURL, func(string, *slog.Logger) (registry.Registry, error) { return c, nil })
	return crowdURL
}

// stand waits for the first answer, and until nothing is left to do.
func stand(client echov1.EchoServiceClient, limit time.Duration) (s stood, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	base := cpuNow()
	if err := echoOnce(ctx, client); err != nil {
		return s, fmt.Errorf("the first call: %w", err)
	}
	s.Settled, s.CPU = atRest(ctx), cpuNow()-base
	u, err := serving.OwnUsage()
	s.RSS = u.RSS
	runtime.GC()
	runtime.GC() // what the first one finalized
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s.Heap = int64(m.HeapAlloc)
	return s, err
}

func doClientJobs(jobs *json.Decoder, answers *json.Encoder, client echov1.EchoServiceClient) error {
	for {
		var j clientJob
		if err := jobs.Decode(&j); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		o, err := j.do(client)
		if err != nil {
			return err
		}
		if err := answers.Encode(o); err != nil {
			return err
		}
	}
}

// do makes the calls. It notes nothing of each, so that nothing but the client is
// measured.
func (j clientJob) do(client echov1.EchoServiceClient) (o clientOutcome, err error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin, base := time.Now(), cpuNow()
	o.Calls, err = j.calls(client)
	o.Elapsed, o.CPU = time.Since(begin), cpuNow()-base
	runtime.ReadMemStats(&after)
	o.Mallocs, o.Bytes = after.Mallocs-before.Mallocs, after.TotalAlloc-before.TotalAlloc
	return o, err
}

// calls returns how many it has made: one at least of each in flight.
func (j clientJob) calls(client echov1.EchoServiceClient) (n int, err error) {
	var over atomic.Bool
	defer time.AfterFunc(j.Duration, func() { over.Store(true) }).Stop()
	counts, errs := make([]int, j.Concurrency), make([]error, j.Concurrency)
	var wg sync.WaitGroup
	for i := range j.Concurrency {
		wg.Go(func() {
			for errs[i] == nil && (counts[i] == 0 || !over.Load()) {
				errs[i] = echoOnce(context.Background(), client)
				counts[i]++
			}
		})
	}
	wg.Wait()
	for _, c := range counts {
		n += c
	}
	return n, errors.Join(errs...)
}

func echoOnce(ctx context.Context, client echov1.EchoServiceClient) error {
	_, err := client.Echo(ctx, echoRequest)
	return err
}

// echoRequest is not changed by calls.
var echoRequest = &echov1.EchoRequest{Message: strings.Repeat("x", smallMessage)}
