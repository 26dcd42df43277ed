package main

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
)

const callersPerConn = 16

// target is what a connection is made to, and whether it presents a certificate.
type target struct {
	addr       string
	presenting bool
}

// manner is how calls are made: with credentials of the connection, and with one
// of the tokens, where there are some.
type manner struct {
	creds  credentials.TransportCredentials
	tokens []string
}

// contexts returns what returns the context of the next call of a caller. With many
// tokens, callers begin in different places.
func (m manner) contexts(ctx context.Context, caller, of int) contexts {
	if len(m.tokens) < 2 {
		ctx = presentingIn(ctx, strings.Join(m.tokens, ""))
		return func() context.Context { return ctx }
	}
	at := caller * len(m.tokens) / of
	return func() context.Context {
		at++
		return presentingIn(ctx, m.tokens[at%len(m.tokens)])
	}
}

// called is who is called and what: what has durations in common.
type called struct {
	target
	workload
}

// callers keeps the connections to each server, and those that called last.
type callers struct {
	silent, presenting manner
	conns              map[target][]*grpc.ClientConn
	last               []caller // of the job before
	of                 job      // that job
	giveUp             context.CancelFunc
	patience           time.Duration     // with calls that are in flight when the time of a job is over
	took               [][]time.Duration // by caller: a job uses what the last one has made room for
	tails              map[called][]time.Duration
}

func newCallers(ca, cert string, tokens ...string) (*callers, error) {
	c := &callers{conns: map[target][]*grpc.ClientConn{}, giveUp: nothing, patience: 10 * time.Second, tails: map[called][]time.Duration{}}
	var err error
	if c.silent.creds, err = credentialsOf(ca, ""); err != nil {
		return nil, err
	}
	c.presenting.creds, err = credentialsOf(ca, cert)
	c.presenting.tokens = tokens
	return c, err
}

func (c *callers) manner(j job) manner {
	if j.Presenting {
		return c.presenting
	}
	return c.silent
}

// clients returns a client for each connection that a job needs.
func (c *callers) clients(j job) ([]echov1.EchoServiceClient, error) {
	want := (j.Concurrency + callersPerConn - 1) / callersPerConn
	to := target{j.Addr, j.Presenting}
	for len(c.conns[to]) < want {
		conn, err := grpc.NewClient("passthrough:///"+j.Addr, grpc.WithTransportCredentials(c.manner(j).creds))
		if err != nil {
			return nil, err
		}
		c.conns[to] = append(c.conns[to], conn)
	}
	clients := make([]echov1.EchoServiceClient, want)
	for i := range clients {
		clients[i] = echov1.NewEchoServiceClient(c.conns[to][i])
	}
	return clients, nil
}

// forJob returns the callers of a job. They are those of the job before where that
// has called the same: a turn finds the streams open that its start has opened.
func (c *callers) forJob(j job) ([]caller, error) {
	if c.last != nil && c.of.Addr == j.Addr && c.of.workload == j.workload && c.of.Presenting == j.Presenting {
		return c.last, nil
	}
	c.endLast()
	clients, err := c.clients(j)
	if err != nil {
		return nil, err
	}
	all, giveUp := context.WithCancel(context.Background())
	c.of, c.giveUp = j, giveUp
	for i := range j.Concurrency {
		// A context of its own, so that callers do not wait for each other at the
		// one that they have in common.
		ctx, cancel := context.WithCancel(all)
		one := callerOf(c.manner(j).contexts(ctx, i, j.Concurrency), clients[i%len(clients)], j.Kind)
		c.last = append(c.last, caller{one.call, func() { one.end(); cancel() }})
	}
	for len(c.took) < j.Concurrency {
		c.took = append(c.took, nil)
	}
	return c.last, nil
}

// endLast ends what the callers of the job before have open.
func (c *callers) endLast() {
	var wg sync.WaitGroup
	for _, one := range c.last {
		wg.Go(one.end)
	}
	late := time.AfterFunc(c.patience, c.giveUp)
	wg.Wait()
	late.Stop()
	c.giveUp()
	c.last = nil
}

func (c *callers) do(j job) (outcome, error) {
	list, err := c.forJob(j)
	if err != nil {
		return outcome{}, err
	}
	late := time.AfterFunc(j.Duration+c.patience, c.giveUp)
	faults := make([]faults, len(list))
	var wg sync.WaitGroup
	begin := time.Now()
	for i, one := range list {
		wg.Go(func() {
			c.took[i], faults[i] = callUntil(begin.Add(j.Duration), one.call, c.took[i][:0], j.Tolerant)
		})
	}
	wg.Wait()
	elapsed := time.Since(begin)
	if !late.Stop() {
		c.endLast() // their context is over
	}
	o := outcomeAfter(elapsed, c.took[:len(list)], faults)
	if j.Measured {
		o.P999 = c.tailOf(j, c.took[:len(list)])
	}
	return o, nil
}

// tailOf adds durations to those of the measured jobs before, and returns the p99.9.
func (c *callers) tailOf(j job, took [][]time.Duration) time.Duration {
	of := called{target{j.Addr, j.Presenting}, j.workload}
	all := slices.Concat(append(slices.Clip(took), c.tails[of])...)
	slices.Sort(all)
	c.tails[of] = all
	return quantile(all, 0.999)
}

// faults are the errors of a caller, and the first of them.
type faults struct {
	n     int
	first error
}

func outcomeAfter(elapsed time.Duration, took [][]time.Duration, list []faults) outcome {
	all := slices.Concat(took...)
	slices.Sort(all)
	o := outcome{Calls: len(all), Elapsed: elapsed, P50: quantile(all, 0.5), P99: quantile(all, 0.99), P999: quantile(all, 0.999)}
	for _, f := range list {
		o.Errors += f.n
		if f.first != nil && o.Err == "" {
			o.Err, _, _ = strings.Cut(f.first.Error(), "\n")
		}
	}
	return o
}

// callUntil calls until a time has come, at least once, and appends how long each
// call took. The first error ends it, unless it tolerates errors.
func callUntil(end time.Time, call func() error, took []time.Duration, tolerant bool) ([]time.Duration, faults) {
	var f faults
	for now := time.Now(); ; {
		err := call()
		after := time.Now()
		if err == nil {
			took = append(took, after.Sub(now))
		} else if f.n++; f.first == nil {
			f.first = err
		}
		if err != nil && !tolerant || !after.Before(end) {
			return took, f
		}
		now = after
	}
}
