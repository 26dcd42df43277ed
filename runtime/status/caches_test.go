package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/cache"
	"github.com/go-easyops/easyops/runtime/cache/caches"
)

// cachesFixture is a server with caches of its own, where clearing "broken"
// fails and clearing "stuck" never ends before the test.
func cachesFixture(t *testing.T, timeout time.Duration) (f *fixture, users *cache.Cache[string, int], group *caches.Group) {
	t.Helper()
	group = caches.NewGroup(slog.New(slog.DiscardHandler))
	waitFor(t, func() bool { // that of another test is collected, and its name is free
		runtime.GC()
		_, taken := group.Get("page-users")
		return !taken
	})
	users = cache.New[string, int]("page-users", cache.Options{MaxEntries: 500, TTL: time.Minute})
	users.Put("a", 1)
	users.Put("b", 2)
	users.Get("a")
	users.Get("nobody")
	t.Cleanup(func() { runtime.KeepAlive(users) })
	f = newFixture(t)
	p, err := New(Config{Name: "echo", Operator: testOperator, Logger: slog.New(slog.NewJSONHandler(f.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.handleAll(cachePages{group, timeout}.pages()); err != nil {
		t.Fatal(err)
	}
	f.Server = httptest.NewServer(p.Handler())
	t.Cleanup(f.Close)
	return f, users, group
}

func (a answer) caches(t *testing.T) (d CachesData, byName map[string]Cache) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &d); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	byName = map[string]Cache{}
	for _, c := range d.Caches {
		byName[c.Name] = c
	}
	return d, byName
}

const (
	asJSON = "application/json"
	asHTML = "text/html"
)

func TestCachesAreListed(t *testing.T) {
	f, _, group := cachesFixture(t, clearTimeout)
	group.Register("page-other", func(context.Context) error { return nil })
	_, all := f.asOperator("GET", cachesPath, "Accept", asJSON).caches(t)
	want := Cache{Name: "page-users", Counted: true, Entries: 2, Max: 500, TTL: Seconds(time.Minute), Hits: 1, Misses: 1}
	if all["page-users"] != want || (all["page-other"] != Cache{Name: "page-other"}) {
		t.Errorf("%+v", all)
	}
	one, _ := f.asOperator("GET", cachesPath+"/page-users", "Accept", asJSON).caches(t)
	if len(one.Caches) != 1 || one.Caches[0] != want || one.Cleared != nil {
		t.Errorf("%+v", one)
	}
	f.asOperator("GET", cachesPath).want(t, 200, "page-users", "2 of 500", "50 %", "never")
	f.asOperator("GET", cachesPath, "Accept", asHTML).want(t, 200, `href="/internal/clearcache/page-users"`, "Clear all caches", `method="post"`)
	f.asOperator("GET", cachesPath+"/page-users", "Accept", asHTML).want(t, 200, "Clear this cache", `action="/internal/clearcache/page-users"`)
	f.asOperator("GET", cachesPath+"/page-other", "Accept", asHTML).want(t, 200, "never")
	f.asOperator("GET", cachesPath+"?filter=page-other").want(t, 200, "page-other")
	f.asOperator("GET", cachesPath+"?sort=colour").want(t, 400, "name, entries")
	f.ask("GET", cachesPath).want(t, 403)
}

func TestClearOneCache(t *testing.T) {
	f, users, _ := cachesFixture(t, clearTimeout)
	other := cache.New[string, int]("page-untouched", cache.Options{})
	other.Put("x", 1)
	a := f.asOperator("POST", cachesPath+"/page-users?reason=stale+names", "Accept", asJSON)
	a.want(t, 200)
	d, all := a.caches(t)
	if c := all["page-users"]; c.Entries != 0 || c.ClearedBy != "alice" || time.Since(c.ClearedAt) > time.Minute || len(d.Cleared) != 1 || d.Cleared[0] != "page-users" {
		t.Errorf("%+v", d)
	}
	if users.Stats().Entries != 0 || other.Stats().Entries != 1 {
		t.Error("the wrong cache was cleared")
	}
	line := f.log.audits(t)[0]
	if line["what"] != "cache page-users" || line["old"] != "2 entries" || line["new"] != "0" || line["who"] != "alice" || line["outcome"] != "done" || line["reason"] != "stale names" {
		t.Errorf("audit: %v", line)
	}
	f.asOperator("POST", cachesPath+"/page-users").want(t, 200, "cleared: page-users")
	f.asOperator("GET", cachesPath+"/page-users").want(t, 200, "by alice")
	f.ask("POST", cachesPath+"/page-users").want(t, 403)
	f.asOperator("POST", cachesPath+"/page-users", "Origin", "https://evil.example").want(t, 403)
}

func TestClearAllCaches(t *testing.T) {
	f, users, group := cachesFixture(t, clearTimeout)
	cleared := false
	group.Register("page-other", func(context.Context) error { cleared = true; return nil })
	d, _ := f.asOperator("POST", cachesPath, "Accept", asJSON).caches(t)
	if text := fmt.Sprint(d.Cleared); !strings.Contains(text, "page-users") || !strings.Contains(text, "page-other") {
		t.Errorf("%v", text)
	}
	if users.Stats().Entries != 0 || !cleared {
		t.Error("they are not clear")
	}
}

func TestClearingThatFails(t *testing.T) {
	f, users, group := cachesFixture(t, 50*time.Millisecond)
	end := make(chan struct{})
	ended := make(chan struct{})
	group.Register("page-stuck", func(context.Context) error { defer close(ended); <-end; return nil })
	group.Register("page-broken", func(context.Context) error { return errors.New("disk is gone") })
	defer func() { close(end); <-ended }()
	start := time.Now()
	f.asOperator("POST", cachesPath).want(t, 500, "cache page-broken: disk is gone", "cache page-stuck: clearing takes too long", "the others may not be")
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("after %v", d)
	}
	if users.Stats().Entries != 0 {
		t.Error("one that fails keeps others from being cleared")
	}
	line := f.log.audits(t)[0]
	for _, want := range []string{"cache page-users=0", "cache page-broken=not cleared", "cache page-stuck=not cleared"} {
		if line["outcome"] != "failed" || !strings.Contains(line["new"].(string), want) {
			t.Errorf("audit: %v", line)
		}
	}
	f.asOperator("POST", cachesPath+"/page-broken").want(t, 500, "disk is gone")
	f.asOperator("POST", cachesPath+"/page-brokn").want(t, 404)
	for i, name := range []string{"page-broken", "page-brokn"} {
		if line := f.log.audits(t)[1+i]; line["what"] != "cache "+name || line["new"] != "not cleared" {
			t.Errorf("audit: %v", line)
		}
	}
	f.asOperator("POST", cachesPath+"/page-stuck").want(t, 500, "already")
	if _, all := f.asOperator("GET", cachesPath, "Accept", asJSON).caches(t); !all["page-broken"].ClearedAt.IsZero() || all["page-users"].ClearedBy != "alice" {
		t.Errorf("%+v", all)
	}
}

func TestUnknownCaches(t *testing.T) {
	f, users, _ := cachesFixture(t, clearTimeout)
	for _, method := range []string{"GET", "POST"} {
		f.asOperator(method, cachesPath+"/page-user").want(t, 404, "page-users")
		for _, name := range []string{"..%2f..%2fetc%2fpasswd", "%2e%2e%2fpage-users", "%00", "page-users%00", "page-users%0a", "%E2%80%AEpage-users", strings.Repeat("x", 10_000), "page%20users", "PAGE-USERS"} {
			a := f.asOperator(method, cachesPath+"/"+name)
			a.want(t, 404)
			if len(a.body) > 10_000 || strings.ContainsAny(a.body, "\x00\u202e") {
				t.Errorf("%.40s: %d bytes: %.200q", name, len(a.body), a.body)
			}
		}
		// These are other paths, whatever is behind them.
		for _, name := range []string{"../clearcache/nothing", "%2e%2e/clearcache/nothing", "a/b", ""} {
			if a := f.asOperator(method, cachesPath+"/"+name); a.StatusCode != 404 {
				t.Errorf("%s %s: %d: %s", method, name, a.StatusCode, a.body)
			}
		}
	}
	if users.Stats().Entries != 2 {
		t.Error("something was cleared")
	}
	var keep []any
	for n := range 200 {
		keep = append(keep, cache.New[int, int](fmt.Sprintf("page-many-%d", n), cache.Options{}))
	}
	a := f.asOperator("GET", cachesPath+"/nothing")
	a.want(t, 404, "more, which GET /internal/clearcache lists")
	if len(a.body) > 4096 {
		t.Errorf("the error has %d bytes", len(a.body))
	}
	runtime.KeepAlive(keep)
}

// With thousands of caches, each answer comes in time and in bounds.
func TestManyCaches(t *testing.T) {
	f, _, group := cachesFixture(t, time.Second)
	many := 10_000
	if raceEnabled {
		many = 1_000
	}
	kept := make([]*cache.Cache[int, int], many/10) // the others are lighter
	for i := range kept {
		kept[i] = cache.New[int, int]("many-of-the-process-with-one-and-the-same-name", cache.Options{TTL: time.Minute})
		kept[i].Put(i, i)
	}
	for i := range many - len(kept) {
		group.Register(fmt.Sprintf("many-of-this-server-with-a-name-that-is-sixty-four-long-%08d", i), func(context.Context) error { return nil })
	}
	for _, accept := range []string{asHTML, asJSON, "text/plain"} {
		for _, ask := range []struct{ method, path string }{
			{"GET", cachesPath}, {"GET", cachesPath + "?limit=10000"}, {"GET", cachesPath + "/page-users"}, {"GET", cachesPath + "/page-others"}, {"POST", cachesPath},
		} {
			best, size := time.Hour, 0
			for range 3 {
				start := time.Now()
				a := f.asOperator(ask.method, ask.path, "Accept", accept)
				best, size = min(best, time.Since(start)), len(a.body)
			}
			t.Logf("%6.1f ms %8d bytes %s %s %s", best.Seconds()*1000, size, ask.method, ask.path, accept)
			if size > 1_000_000 {
				t.Errorf("%s %s as %s has %d bytes", ask.method, ask.path, accept, size)
			}
			if ask.method == "GET" && !raceEnabled && best > 50*time.Millisecond {
				t.Errorf("%s as %s takes %v", ask.path, accept, best)
			}
		}
	}
	if kept[0].Stats().Entries != 0 {
		t.Error("it is not clear")
	}
	runtime.KeepAlive(kept)
}
