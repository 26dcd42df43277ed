package easyops

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/cache"
	"github.com/go-easyops/easyops/runtime/status"
)

// cacheServer is a server that tokens of alice operate.
type cacheServer struct {
	*Server
	t     *testing.T
	alice string
}

func startCacheServer(t *testing.T, opts ...ServerOption) cacheServer {
	t.Helper()
	file, token := keyFile(t)
	s, err := Start([]Service{(&funcs{}).service()}, append([]ServerOption{
		WithFlags(nil), WithRegistry("none"), WithLogger(slog.New(slog.DiscardHandler)), WithAddr("127.0.0.1:0"), WithDrainDelay(0),
		WithAuth("jwks:" + file + "?issuer=https://issuer.test&audience=test"), WithOperators("user:alice"),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Shutdown(t.Context()) })
	return cacheServer{s, t, token("alice")}
}

func (o cacheServer) ask(method, path string) (int, string) {
	o.t.Helper()
	r, err := http.NewRequestWithContext(o.t.Context(), method, "http://"+o.Addr().String()+path, nil)
	if err != nil {
		o.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+o.alice)
	r.Header.Set("Accept", "application/json")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	resp, err := client.Do(r)
	if err != nil {
		o.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func (o cacheServer) caches(method, path string) map[string]status.Cache {
	o.t.Helper()
	code, body := o.ask(method, path)
	var d status.CachesData
	if err := json.Unmarshal([]byte(body), &d); err != nil || code != http.StatusOK {
		o.t.Fatalf("%s %s: %d, %v: %s", method, path, code, err, body)
	}
	all := map[string]status.Cache{}
	for _, c := range d.Caches {
		all[c.Name] = c
	}
	return all
}

func TestCachesOfAServer(t *testing.T) {
	users := cache.New[string, int]("server-users", cache.Options{MaxEntries: 7})
	users.Put("a", 1)
	users.Get("a")
	users.Get("b")
	o := startCacheServer(t)
	const page = "/internal/clearcache"
	o.ask(http.MethodGet, page)
	all := o.caches(http.MethodGet, page)
	if c := all["server-users"]; c.Entries != 1 || c.Max != 7 || c.Hits != 1 || c.Misses != 1 {
		t.Errorf("%+v", c)
	}
	if c := all["tokens"]; c.Entries != 1 || c.Max != 10_000 || c.Misses != 1 || c.Hits < 1 {
		t.Errorf("%+v", c)
	}
	_, text := o.ask(http.MethodGet, "/metrics")
	for _, line := range []string{
		`easyops_cache_entries{cache="server-users"} 1`,
		`easyops_cache_hits_total{cache="server-users"} 1`,
		`easyops_cache_misses_total{cache="server-users"} 1`,
		`easyops_cache_evictions_total{cache="server-users"} 0`,
		`easyops_cache_entries{cache="tokens"} 1`,
		`easyops_cache_misses_total{cache="tokens"} 1`,
		"# TYPE easyops_cache_entries gauge",
		"# TYPE easyops_cache_hits_total counter",
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no %q among the metrics", line)
		}
	}
	if strings.Contains(text, o.alice) {
		t.Error("a token is among the metrics")
	}
	// The token that clears the tokens is verified anew by the next request.
	if c := o.caches(http.MethodPost, page+"/tokens")["tokens"]; c.Entries > 1 || c.ClearedBy == "" {
		t.Errorf("%+v", c)
	}
	if c := o.caches(http.MethodGet, page+"/tokens")["tokens"]; c.Misses != 2 || c.Entries != 1 || !strings.Contains(c.ClearedBy, "alice") {
		t.Errorf("%+v", c)
	}
	o.caches(http.MethodPost, page)
	if users.Stats().Entries != 0 {
		t.Error("it is not clear")
	}
	runtime.KeepAlive(users)
}

// Two servers of a process have the process's caches, and each its own tokens.
func TestCachesOfTwoServers(t *testing.T) {
	shared := cache.New[string, int]("server-shared", cache.Options{})
	file, _ := keyFile(t)
	own, err := auth.Open("jwks:"+file+"?issuer=https://other.test&audience=test", auth.Config{})
	if err != nil {
		t.Fatal(err)
	}
	one, two := startCacheServer(t), startCacheServer(t, WithAuthenticator(own))
	all := one.caches(http.MethodGet, "/internal/clearcache")
	if _, ok := all["tokens-2"]; ok || all["server-shared"].Name == "" || all["tokens"].Name == "" {
		t.Errorf("%+v", all)
	}
	if all := two.caches(http.MethodGet, "/internal/clearcache"); all["tokens-2"].Name == "" || all["server-shared"].Name == "" || all["tokens"].Misses != 1 {
		t.Errorf("%+v", all)
	}
	runtime.KeepAlive(shared)
}
