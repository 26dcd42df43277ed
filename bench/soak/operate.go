package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/registry/local"
)

// operations is all that happens to servers besides calls.
type operations struct {
	settings
	mint *mint
	http *http.Client

	began time.Time

	mu         sync.Mutex
	goroutines int64     // of the server that lives long, at the last scrape
	scraped    time.Time // when that was
	done       counts    // how often what was done
	faults     counts    // by what and why
	marks      []float64 // seconds at which a server was restarted
	steady     *server   // lives long
	rolling    []*server // are restarted in turn
}

// operationNames are what has to be done, all of it.
var operationNames = []string{
	"restart", "scrape", "page", "flag", "flag for a time", "caches cleared", "unregistered", "registered", "instance that came and went",
}

func newOperations(s settings) (o *operations, err error) {
	o = &operations{settings: s, done: counts{}, faults: counts{}}
	if o.mint, err = newMint(s.dir); err != nil {
		return nil, err
	}
	o.http, _, err = webClients(s.dir)
	return o, err
}

// start starts the servers.
func (o *operations) start(ctx context.Context) (err error) {
	var more []string
	if o.leak {
		more = append(more, "-leak")
	}
	if o.steady, err = startServer(ctx, o.settings, "server-0", o.http, more...); err != nil {
		return err
	}
	for n := range 2 {
		v, err := startServer(ctx, o.settings, fmt.Sprint("server-", n+1), o.http)
		if err != nil {
			return err
		}
		o.rolling = append(o.rolling, v)
	}
	o.began, o.scraped = time.Now(), time.Now()
	return nil
}

// run operates until the context ends.
func (o *operations) run(ctx context.Context) {
	var group sync.WaitGroup
	for _, loop := range []func(context.Context){
		o.restarts,
		every(time.Second, o.scrape),
		every(time.Second, o.reload),
		every(time.Second, o.change),
		every(10*time.Second, o.clear),
		every(20*time.Second, o.unregister),
		o.churn,
	} {
		group.Go(func() { loop(ctx) })
	}
	group.Wait()
}

func every(d time.Duration, do func(ctx context.Context, n int)) func(context.Context) {
	return func(ctx context.Context) {
		ticker := time.NewTicker(d)
		defer ticker.Stop()
		for n := 0; ; n++ {
			do(ctx, n)
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}
}

// note counts what was done, or why not. What ends with the run is not counted.
func (o *operations) note(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil {
		o.done.add(what)
	} else {
		o.faults.add(what + ": " + reasonOf(err))
	}
}

// ask is a request of the operator.
func (o *operations) ask(ctx context.Context, v *server, method, path, body string, read func(io.Reader) error) error {
	return request(ctx, o.http, o.mint.token(operator, time.Minute), method, v.url(path), body, read)
}

// restarts ends one server after the other, each when its replacement is ready. The
// time between two is not always the same, so that samples meet all that happens.
func (o *operations) restarts(ctx context.Context) {
	begin := time.Now()
	for n := 0; ; n++ {
		pause(ctx, time.Until(begin.Add(time.Duration((0.75+rand.Float64()/2)*float64(o.restart)))))
		begin = time.Now()
		if ctx.Err() != nil {
			return
		}
		next, err := startServer(ctx, o.settings, fmt.Sprint("server-", len(o.rolling)+1+n), o.http)
		if err != nil {
			o.note(ctx, "start", err)
			continue
		}
		old := o.replace(n%len(o.rolling), next)
		old.end()
		o.note(context.WithoutCancel(ctx), "restart", old.wait()) // a bad end counts, though the run is over
	}
}

// replace returns the server that the next one is in place of.
func (o *operations) replace(at int, next *server) *server {
	o.mu.Lock()
	defer o.mu.Unlock()
	old := o.rolling[at]
	o.rolling[at] = next
	o.marks = append(o.marks, time.Since(o.began).Seconds())
	return old
}

func (o *operations) servers() []*server {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]*server{o.steady}, o.rolling...)
}

// scrape reads the metrics of all servers, as Prometheus does.
func (o *operations) scrape(ctx context.Context, _ int) {
	for _, v := range o.servers() {
		err := o.ask(ctx, v, http.MethodGet, "/metrics", "", func(body io.Reader) error {
			n, err := goroutines(body)
			if v == o.steady && err == nil {
				o.scrapedNow(n)
			}
			return err
		})
		if err != nil && v.leaving.Load() {
			continue
		}
		o.note(ctx, "scrape", err)
	}
}

// scrapedNow notes what the metrics of the server that lives long say.
func (o *operations) scrapedNow(goroutines int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.goroutines, o.scraped = goroutines, time.Now()
}

// lastScrape returns what they said at last, and how long ago that was.
func (o *operations) lastScrape() (goroutines int64, ago time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.goroutines, time.Since(o.scraped)
}

// goroutines reads how many there are from metrics.
func goroutines(metrics io.Reader) (int64, error) {
	found := int64(0)
	lines := bufio.NewScanner(metrics)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return 0, err
			}
			found = int64(n)
		}
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	if found == 0 {
		return 0, fmt.Errorf("the metrics have no go_goroutines")
	}
	return found, nil
}

// pages are what the operator reads in turn.
var pages = []string{
	"/internal/", "/internal/help", "/internal/health", "/internal/parameters", "/internal/clearcache",
	"/internal/service-info/version", "/internal/service-info/grpc-connections", "/internal/service-info/grpc-callers",
	"/internal/service-info/dependencies", "/internal/service-info/infoproviders", "/internal/service-info/api",
	"/internal/service-info/metrics", "/internal/debug/info", "/internal/debug/goroutine",
}

// reload reads a page of the server that lives long, the overview every other time.
func (o *operations) reload(ctx context.Context, n int) {
	path := pages[0]
	if n%2 == 1 {
		path = pages[n/2%len(pages)]
	}
	o.note(ctx, "page", o.ask(ctx, o.steady, http.MethodGet, path+[]string{"", "?format=json", "?format=text"}[rand.IntN(3)], "", nothing))
}

// change changes a flag for good, and another one for a second.
func (o *operations) change(ctx context.Context, n int) {
	set := func(query, name string, value any) error {
		return o.ask(ctx, o.steady, http.MethodPost, "/internal/parameters"+query, url.Values{name: {fmt.Sprint(value)}}.Encode(), nothing)
	}
	o.note(ctx, "flag", set("", "soak.word", fmt.Sprint("word", n)))
	o.note(ctx, "flag for a time", set("?ttl=1s", "easyops.access-log-sample", 1000+n%7))
}

func (o *operations) clear(ctx context.Context, _ int) {
	o.note(ctx, "caches cleared", o.ask(ctx, o.steady, http.MethodPost, "/internal/clearcache", "", nothing))
}

// unregister takes the server that lives long out of the registry, and back.
func (o *operations) unregister(ctx context.Context, _ int) {
	o.note(ctx, "unregistered", o.ask(ctx, o.steady, http.MethodPost, "/internal/unregister", "", nothing))
	pause(ctx, 500*time.Millisecond)
	o.note(ctx, "registered", o.ask(ctx, o.steady, http.MethodPost, "/internal/unregister?undo", "", nothing))
}

// churn has other instances come and go: of another service, and of ours, where
// they are about to stop, so that nobody calls them.
func (o *operations) churn(ctx context.Context) {
	r, err := local.Open(filepath.Join(o.dir, "registry"), slog.New(slog.DiscardHandler))
	if err != nil {
		o.note(ctx, "registry", err)
		return
	}
	defer r.Close()
	every(200*time.Millisecond, func(ctx context.Context, n int) {
		o.note(ctx, "instance that came and went", comeAndGo(ctx, r, []string{"other.v1.OtherService", service}[n%2]))
	})(ctx)
}

func comeAndGo(ctx context.Context, r registry.Registry, name string) error {
	i := registry.Instance{
		ID: registry.NewID(), Service: name, Addr: "127.0.0.1:9", Kinds: []registry.Kind{registry.KindGRPC},
		Health: registry.Stopping, Started: time.Now(),
	}
	lease, err := r.Register(ctx, []registry.Instance{i})
	if err != nil {
		return err
	}
	pause(ctx, 100*time.Millisecond)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	return lease.Close(ctx)
}
