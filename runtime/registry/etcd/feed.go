package etcd

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/go-easyops/easyops/runtime/registry"
)

const (
	publishTime = 200 * time.Millisecond // between two lists, at least
	minRetry    = 300 * time.Millisecond // between two attempts to list
	maxRetry    = 2 * time.Second
	blinkTime   = leaseTime / 3 // an interruption in which no lease ends that was renewed
	// spreadTime is for all clients of a member that went, whose revisions are
	// compacted, to list again. With what came before it is less than blinkTime.
	spreadTime = time.Second
	maxBad     = 1000 // keys of which is remembered that they are bad
)

var (
	errBackInTime = errors.New("etcd went back in time, or is another one")
	errRoom       = errors.New("there is room for entries that were left out")
)

// feed follows the entries of one service, for all who watch it in this
// process.
type feed struct {
	client  *client
	service string
	prefix  string // of the keys
	users   int    // guarded by client.mu
	cancel  context.CancelFunc
	done    chan struct{}

	// Of the goroutine alone.
	items  []*item          // what is known, in the order of the keys
	at     listing          // the last
	heard  time.Time        // when etcd last said something
	due    <-chan time.Time // when to publish what has changed
	told   time.Time        // when that was last done
	expiry <-chan time.Time // when to look for items that expire
	bad    map[string]struct{}
	full   bool // there are more than are followed
	broken bool // the last watch ended so that only a list tells what was missed

	mu       sync.Mutex
	list     []registry.Instance // shared, never changed
	version  int                 // counts the lists
	err      error               // why etcd cannot be asked
	watchers map[chan struct{}]*slog.Logger
}

// subscribe returns the feed of a service and a channel that gets something
// after each change of what it has, and now.
func (c *client) subscribe(service string, logger *slog.Logger) (*feed, chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.feeds[service]
	if f == nil {
		ctx, cancel := context.WithCancel(context.Background())
		f = &feed{
			client: c, service: service, prefix: c.config.servicePrefix(service),
			cancel: cancel, done: make(chan struct{}),
			bad: map[string]struct{}{}, watchers: map[chan struct{}]*slog.Logger{},
		}
		c.feeds[service] = f
		defer func() { go f.run(ctx) }() // once there is who hears of it
	}
	f.users++
	news := make(chan struct{}, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watchers[news] = logger
	return f, news
}

// unsubscribe ends a feed that nobody follows any more, and waits for its end.
func (c *client) unsubscribe(f *feed, news chan struct{}) {
	f.mu.Lock()
	delete(f.watchers, news)
	f.mu.Unlock()

	c.mu.Lock()
	f.users--
	last := f.users == 0
	if last {
		delete(c.feeds, f.service)
	}
	c.mu.Unlock()
	if last {
		f.cancel()
		<-f.done
	}
}

// current returns what is known, its version, which is 0 while nothing is, and
// why it may be old.
func (f *feed) current() ([]registry.Instance, int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.list, f.version, f.err
}

// run lists and watches until the context ends.
func (f *feed) run(ctx context.Context) {
	defer close(f.done)
	for delay := minRetry; ctx.Err() == nil; delay = min(2*delay, maxRetry) {
		began := time.Now()
		err := f.follow(ctx)
		switch {
		case errors.Is(err, rpctypes.ErrCompacted):
			delay = spreadTime
		case time.Since(began) > maxRetry: // it worked
			delay = minRetry
		}
		// Others lost their watches at the same moment.
		_ = f.serve(ctx, nil, time.After(rand.N(delay)))
	}
}

// follow lists, and watches from there on until that breaks, and returns why.
// After a short break it goes on where it was: lists for all clients of a
// member that went would be much for the others.
func (f *feed) follow(ctx context.Context) error {
	if time.Since(f.heard) > blinkTime || f.broken {
		if err := f.relist(ctx); err != nil {
			f.fail(ctx, err)
			return err
		}
	}
	f.broken = true
	s, err := f.client.open(ctx, f.at.revision, keyRange{f.prefix, rangeEnd(f.prefix)})
	if err != nil {
		f.fail(ctx, err)
		return err
	}
	err = f.serve(ctx, s, nil)
	s.close()
	f.broken = !s.cut || err != s.err //nolint:errorlint // whether it is the very one
	f.logger().Debug("watch ended", "err", err)
	return err
}

// serve does what there is to do while a watch lasts, or while there is none
// until a time. It returns why that is over.
func (f *feed) serve(ctx context.Context, s *watchStream, until <-chan time.Time) error {
	var news <-chan *pb.WatchResponse
	var tick <-chan time.Time
	if s != nil {
		news, tick = s.news, s.ticker.C
	}
	for {
		var expiry <-chan time.Time
		if s != nil { // nothing is forgotten during an outage
			expiry = f.expiry
		}
		var err error
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-until:
			return nil
		case <-f.due:
			f.publish()
		case <-expiry:
			f.expire(time.Now())
		case <-tick:
			err = s.check()
		case resp, ok := <-news:
			if err = s.look(resp, ok); err == nil {
				err = f.take(resp)
			}
		}
		if err != nil {
			return err
		}
	}
}

// fail notes why etcd cannot be asked. What is known stays.
func (f *feed) fail(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	f.mu.Lock()
	first := f.err == nil
	f.err = err
	f.notifyLocked()
	f.mu.Unlock()
	if first {
		f.logger().Warn("registry cannot be asked, what is known of the service is kept", "err", err)
	}
}

// heal notes that etcd can be asked.
func (f *feed) heal() {
	f.mu.Lock()
	failed := f.err != nil
	f.err = nil
	f.mu.Unlock()
	if failed {
		f.logger().Info("registry can be asked again")
	}
}

// logger logs for all who watch now, through equal handlers once: they may have
// others than who began, and is gone.
func (f *feed) logger() *slog.Logger {
	f.mu.Lock()
	known := map[any]bool{}
	var handlers []slog.Handler
	for _, l := range f.watchers {
		h := l.Handler()
		if reflect.ValueOf(h).Comparable() {
			if known[h] {
				continue
			}
			known[h] = true
		}
		handlers = append(handlers, h)
	}
	f.mu.Unlock()
	return slog.New(slog.NewMultiHandler(handlers...)).With("registry", f.client.config.String(), "service", f.service)
}

// changed has the list published soon: at once, where it was not just now.
func (f *feed) changed() {
	if f.due == nil {
		f.due = time.After(publishTime - time.Since(f.told))
	}
}

func (f *feed) publish() {
	f.due, f.told = nil, time.Now()
	list := make([]registry.Instance, len(f.items))
	for n, it := range f.items {
		list[n] = it.instance
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = list
	f.version++
	f.notifyLocked()
}

func (f *feed) notifyLocked() {
	for news := range f.watchers {
		select {
		case news <- struct{}{}:
		default:
		}
	}
}
