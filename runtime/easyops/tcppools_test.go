package easyops

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/routing"
)

// still is a registry that lists one instance for ever.
type still struct {
	registry.Registry
	watching, closed atomic.Int32
}

func (s *still) Watch(ctx context.Context, service string, update func([]registry.Instance, error)) {
	s.watching.Add(1)
	defer s.watching.Add(-1)
	update([]registry.Instance{{ID: "a", Service: service, Addr: "a:1", Kinds: []registry.Kind{registry.KindTCP}, Health: registry.Ready}}, nil)
	<-ctx.Done()
}

func (s *still) String() string        { return "registry that is still" }
func (s *still) LastAnswer() time.Time { return time.Time{} }
func (s *still) Close() error          { s.closed.Add(1); return nil }

// TestPoolsEnd: a pool that is not used is kept for a minute from its last use, and
// then nothing of it is left.
func TestPoolsEnd(t *testing.T) {
	r := &still{}
	registry.RegisterDriver("still", func(string, *slog.Logger) (registry.Registry, error) { return r, nil })
	synctest.Test(t, func(t *testing.T) {
		pools := &tcpPools{keep: keepPool, all: map[tcpKey]*tcpPool{}}
		hold := func() *tcpPool {
			t.Helper()
			c := clientConfig([]DialOption{WithFlags(nil), WithRegistry("still:")})
			p, err := pools.hold(c, "lines")
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return p
		}
		use := func() *tcpPool { p := hold(); pools.letGo(p); return p }
		want := func(what string, watching, closed int32) {
			t.Helper()
			synctest.Wait()
			if w, c := r.watching.Load(), r.closed.Load(); w != watching || c != closed {
				t.Errorf("%s: %d watches, %d were closed", what, w, c)
			}
		}
		first := use()
		time.Sleep(keepPool - 1)
		if use() != first {
			t.Error("another pool is used within a minute")
		}
		time.Sleep(keepPool - 1)
		want("within a minute of the second use", 1, 0)
		time.Sleep(time.Nanosecond)
		want("a minute after", 0, 1)
		if _, err := first.pool.(*routing.Pool).Pick(t.Context()); !errors.Is(err, net.ErrClosed) || len(pools.all) != 0 {
			t.Errorf("it is kept: %v", err)
		}

		held := hold()
		if held == first {
			t.Error("a pool is used that has ended")
		}
		use()
		time.Sleep(10 * keepPool)
		pools.closeIdle()
		want("while it is being used", 1, 1)
		pools.letGo(held)
		pools.closeIdle()
		want("when idle ones are closed", 0, 2)
		time.Sleep(keepPool)
		want("afterwards", 0, 2)
	})
}

// TestPoolsKeepLoad: while a connection is open its pool stays, which knows what load
// each instance has; and CloseIdleTCP ends it all the same.
func TestPoolsKeepLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pools := &tcpPools{keep: keepPool, all: map[tcpKey]*tcpPool{}}
		dial := func() *routing.Pick {
			t.Helper()
			p, err := pools.hold(clientConfig([]DialOption{WithFlags(nil), DialTarget("a:1")}), "lines")
			if err != nil {
				t.Fatal(err)
			}
			defer pools.letGo(p)
			k, err := p.pool.(*routing.Pool).Pick(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
		load := func() int {
			synctest.Wait()
			if s := pools.status(); len(s) == 1 {
				return s[0].Instances[0].InUse
			}
			return -1
		}
		first, second := dial(), dial()
		time.Sleep(100*keepPool + 1)
		if n := load(); n != 2 {
			t.Errorf("the load is %d while 2 are open", n)
		}
		third := dial()
		first.Done(nil)
		second.Done(nil)
		time.Sleep(keepPool + 1)
		if n := load(); n != 1 {
			t.Errorf("the load is %d while 1 is open", n)
		}
		third.Done(nil)
		time.Sleep(keepPool)
		if n := load(); n != -1 {
			t.Errorf("the pool is kept, with a load of %d", n)
		}
		fourth := dial()
		pools.closeIdle()
		time.Sleep(10 * keepPool)
		if n := load(); n != -1 {
			t.Errorf("the pool outlives CloseIdleTCP, with a load of %d", n)
		}
		fourth.Done(nil)
	})
}

// TestPoolsShareLoggers: where the log goes makes no other pool.
func TestPoolsShareLoggers(t *testing.T) {
	pools := &tcpPools{keep: keepPool, all: map[tcpKey]*tcpPool{}}
	defer pools.closeIdle()
	for range 20 {
		logger := slog.New(slog.DiscardHandler)
		c := clientConfig([]DialOption{WithFlags(nil), DialTarget("a:1"), WithLogger(logger), WithLogLevel(slog.LevelError)})
		p, err := pools.hold(c, "lines")
		if err != nil {
			t.Fatal(err)
		}
		pools.letGo(p)
	}
	if n := len(pools.all); n != 1 {
		t.Errorf("%d pools for 20 loggers", n)
	}
}

// TestDescribePool: the page of the connections has a pool as it has a client.
func TestDescribePool(t *testing.T) {
	soon := time.Now().Add(time.Second)
	in := func(specials ...func(*routing.PoolInstance)) (i routing.PoolInstance) {
		i.ID, i.Addr, i.Health = "a", "a:1", registry.Ready
		for _, s := range specials {
			s(&i)
		}
		return i
	}
	used := func(i *routing.PoolInstance) { i.Picks, i.InUse = 5, 2 }
	failed := func(i *routing.PoolInstance) { i.Picks, i.Failures, i.LastError, i.OutUntil = 1, 1, "refused", soon }
	for name, test := range map[string]struct {
		instances []routing.PoolInstance
		state     string
		of        []string
	}{
		"none":        {nil, "TRANSIENT_FAILURE", nil},
		"not used":    {[]routing.PoolInstance{in()}, "IDLE", []string{"IDLE"}},
		"used":        {[]routing.PoolInstance{in(used), in()}, "READY", []string{"READY", "IDLE"}},
		"some failed": {[]routing.PoolInstance{in(failed), in(used)}, "READY", []string{"TRANSIENT_FAILURE", "READY"}},
		"all failed":  {[]routing.PoolInstance{in(failed)}, "TRANSIENT_FAILURE", []string{"TRANSIENT_FAILURE"}},
	} {
		o := describePool(routing.PoolStatus{Service: "lines", Source: "target a:1", Instances: test.instances})
		if o.State != test.state || !o.ByTarget || o.Service != "lines" || o.Source != "target a:1, by DialTCP" {
			t.Errorf("%s: %+v", name, o)
		}
		for n, state := range test.of {
			if o.Instances[n].State != state {
				t.Errorf("%s: %+v, want %s", name, o.Instances[n], state)
			}
		}
		if name == "used" && (o.Instances[0].InFlight != 2 || o.Instances[0].Calls != 3) {
			t.Errorf("%+v", o.Instances[0])
		}
	}
}

// TestPoolsKeys: DialTLS and other settings make other pools, and what cannot be
// opened is not kept.
func TestPoolsKeys(t *testing.T) {
	pools := &tcpPools{keep: keepPool, all: map[tcpKey]*tcpPool{}}
	defer pools.closeIdle()
	seen := map[*tcpPool]bool{}
	for _, opts := range [][]DialOption{
		{DialTarget("a:1")},
		{DialTarget("a:2")},
		{DialTarget("a:1"), WithTLSFiles("", "", "system")},
		{DialTarget("a:1"), WithTLSFiles("", "", "system"), DialTLS()},
	} {
		for range 2 {
			p, err := pools.hold(clientConfig(append(opts, WithFlags(nil))), "lines")
			if err != nil {
				t.Fatal(err)
			}
			seen[p] = true
			pools.letGo(p)
		}
	}
	if len(seen) != 4 {
		t.Errorf("%d pools for 4 kinds of settings", len(seen))
	}
	if s := pools.status(); len(s) != 4 || s[0].Service != "lines" || s[0].Source != "target a:1" || s[3].Source != "target a:2" {
		t.Errorf("the status is of %+v", s)
	}
	for range 2 {
		if _, err := pools.hold(clientConfig([]DialOption{WithFlags(nil), DialTarget("a")}), "lines"); err == nil {
			t.Error("opened")
		}
	}
	if len(pools.all) != 4 {
		t.Errorf("%d pools are kept", len(pools.all))
	}
}
