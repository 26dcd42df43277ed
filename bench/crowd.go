package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

const (
	crowdService     = "echo.v1.EchoService"
	changesPerSecond = 100
	changeTime       = 10 * time.Millisecond  // between two looks at how many changes are due
	publishTime      = 200 * time.Millisecond // between two lists, at least, as by the registries of easyops
)

// crowd is many instances of one service, all of them addresses of the loopback
// interface and one port, where a single server answers for all. Its entries
// come as texts of JSON, and the list is copied for each who watches it, as it
// is by a registry over the network.
type crowd struct {
	port     int
	size     int
	changing atomic.Bool  // changes are made
	changes  atomic.Int64 // that were made

	// Of the goroutine that watches.
	made  int // how many there were so far
	items []*registry.Instance
	list  []registry.Instance // what was published last
	ill   *registry.Instance
}

// crowdKinds are the same for all instances, which share them.
var crowdKinds = []registry.Kind{registry.KindGRPC, registry.KindStatus}

// come adds an instance that was not there before.
func (c *crowd) come() error {
	c.made++
	text := fmt.Appendf(nil,
		`{"id":%q,"service":%q,"addr":"127.%d.%d.%d:%d","kinds":["grpc","status"],"health":"READY","version":"v1.2.3","tags":{"zone":"z%d"},"started":"2026-01-01T00:00:00Z"}`,
		registry.NewID(), crowdService, c.made>>16, c.made>>8&255, c.made&255, c.port, c.made%3)
	i := &registry.Instance{}
	if err := json.Unmarshal(text, i); err != nil {
		return err
	}
	i.Kinds = crowdKinds
	c.items = append(c.items, i)
	return i.Validate()
}

// change makes one change: an instance falls ill, it gets well, one leaves, and
// another one comes.
func (c *crowd) change() error {
	at := rand.N(len(c.items))
	switch c.changes.Add(1) % 4 {
	case 1:
		c.ill = c.replace(at, registry.NotReady)
	case 2:
		c.replace(slices.Index(c.items, c.ill), registry.Ready)
	case 3:
		c.items = slices.Delete(c.items, at, at+1)
	default:
		return c.come()
	}
	return nil
}

// replace gives an instance another health. Who has the old entry keeps it.
func (c *crowd) replace(at int, h registry.Health) *registry.Instance {
	i := *c.items[at]
	i.Health = h
	c.items[at] = &i
	return &i
}

// watch calls update with the list, at once and after changes.
func (c *crowd) watch(ctx context.Context, update func([]registry.Instance)) error {
	for c.made < c.size {
		if err := c.come(); err != nil {
			return err
		}
	}
	c.publish(update)
	ticker := time.NewTicker(changeTime)
	defer ticker.Stop()
	var began, told time.Time
	var before int64 // changes
	for fresh := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if !c.changing.Load() {
			began, before = time.Now(), c.changes.Load()
			continue
		}
		for due := before + int64(time.Since(began).Seconds()*changesPerSecond); c.changes.Load() < due; fresh = true {
			if err := c.change(); err != nil {
				return err
			}
		}
		if fresh && time.Since(told) >= publishTime {
			c.publish(update)
			fresh, told = false, time.Now()
		}
	}
}

func (c *crowd) publish(update func([]registry.Instance)) {
	list := make([]registry.Instance, len(c.items))
	for n, i := range c.items {
		list[n] = *i
	}
	c.list = list
	update(slices.Clone(list))
}

// Watch implements [registry.Registry].
func (c *crowd) Watch(ctx context.Context, _ string, update func([]registry.Instance, error)) {
	if err := c.watch(ctx, func(list []registry.Instance) { update(list, nil) }); err != nil {
		update(nil, err)
		<-ctx.Done()
	}
}

// Register implements [registry.Registry].
func (c *crowd) Register(context.Context, []registry.Instance) (registry.Lease, error) {
	return nil, errors.New("nothing can be registered here")
}

// LastAnswer implements [registry.Registry].
func (c *crowd) LastAnswer() time.Time { return time.Now() }

// Close implements [registry.Registry].
func (c *crowd) Close() error { return nil }

// String implements [registry.Registry].
func (c *crowd) String() string { return "list of the benchmark" }
