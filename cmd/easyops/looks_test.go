package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/cache"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/easyopstest"
	pages "github.com/go-easyops/easyops/runtime/status"
)

func TestCache(t *testing.T) {
	f := newFleet(t)
	a := f.add()
	var cleared atomic.Int32
	remove := cache.Register("other", func(context.Context) error { cleared.Add(1); return nil })
	t.Cleanup(remove)
	// A cache is listed by all servers of the process while somebody refers to it:
	// other tests are not to clear it.
	known := cache.New[string, int]("users", cache.Options{MaxEntries: 100, TTL: time.Minute})
	t.Cleanup(known.Clear)
	known.Put("a", 1)
	known.Get("a")
	known.Get("b")
	expect(t, 0, "CACHE ENTRIES MOST TTL HITS MISSES HIT RATE EVICTED CLEARED BY\nother - - - - - - - - -\nusers 1 100 1m0s 1 1 50.0 % 0 - -\n", "cache", a.Addr) // once in a process

	expect(t, 0, "CLEARED\nusers\n", "cache", "clear", a.Addr, "users", "--reason", "test")
	if _, there := known.Get("a"); there || cleared.Load() != 0 {
		t.Errorf("%v, %d", there, cleared.Load())
	}
	if text := plain(mustCall(t, "cache", a.ID)); !strings.Contains(text, "AGE ago local user ") {
		t.Error(text)
	}
	code, _, stderr := call("cache", "clear", a.Addr, "usrs")
	if code != 1 || !strings.Contains(stderr, a.ID+" at "+a.Addr+": there is no cache \"usrs\" here") {
		t.Errorf("code %d, %s", code, stderr)
	}
	for _, name := range []string{"a/b", "..", "a b", "%2e%2e"} {
		if code, _, stderr := call("cache", "clear", a.Addr, name); code == 0 || stderr == "" {
			t.Errorf("%s: code %d, %s", name, code, stderr)
		}
	}
	expect(t, 2, "easyops: cache clear: name one cache, or none for all\n", "cache", "clear", a.Addr, "a", "b")

	// All of one, and one of all, are more than one.
	f.add()
	for _, args := range [][]string{{a.Addr}, {echoService, "users"}, {"--service", echoService, "users"}} {
		args = append([]string{"cache", "clear"}, args...)
		if code, _, stderr := call(args...); code != 2 || !strings.Contains(stderr, "add --yes") {
			t.Errorf("%v: code %d, %s", args, code, stderr)
		}
		known.Put("a", 1)
		if code, stdout, _ := callTyping("y\n", args...); code != 0 || !strings.Contains(stdout, "users") {
			t.Errorf("%v: code %d, %s", args, code, stdout)
		}
		if _, there := known.Get("a"); there {
			t.Errorf("%v: it is there", args)
		}
	}
	if cleared.Load() != 1 {
		t.Errorf("%d", cleared.Load())
	}
	doc := decode[struct {
		Version   int
		Instances []answer[pages.CachesData]
	}](t, mustCall(t, "cache", "--json", echoService))
	if len(doc.Instances) != 2 || len(doc.Instances[0].Page.Caches) != 2 {
		t.Errorf("%+v", doc)
	}
}

// picky is a server that does not take everything.
type picky struct{ echo }

func (picky) Echo(_ context.Context, r *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	if r.GetMessage() == "bad" {
		return nil, status.Error(codes.NotFound, "no")
	}
	return &echov1.EchoResponse{}, nil
}

func TestCallers(t *testing.T) {
	f := newFleet(t)
	start := func() *easyopstest.Server {
		return easyopstest.Start(t, []easyops.Service{echov1.BindEchoServiceServer(picky{})},
			easyops.WithRegistry(f.url), easyops.WithOperators("user:alice"))
	}
	first, second := start(), start()
	alice := tempFile(t, easyopstest.UserToken("alice"))
	for n, s := range []*easyopstest.Server{first, second} {
		for i := range 2 + n {
			text := "good"
			if i == 0 {
				text = "bad"
			}
			callEcho(t, s, text)
		}
	}
	with := func(args ...string) []string { return append(args, "--token-file", alice) }
	ids := map[string]string{}
	for _, i := range f.newestTwo() {
		ids[i.Addr] = i.ID
	}
	id := func(s *easyopstest.Server) string { return ids[s.Addr().String()] }
	text := mustCall(t, with("callers", echoService, "--sort", "-calls")...)
	want := "INSTANCE METHOD KIND CALLER CALLS ERRORS BY CODE LAST P50 P99\n" +
		id(second) + " echo.v1.EchoService/Echo user bob 3 1 NOT_FOUND 1 AGE ago"
	if got := plain(text); !strings.HasPrefix(got, want) || !strings.Contains(got, "\n"+id(first)+" echo.v1.EchoService/Echo user bob 2 1 NOT_FOUND 1 AGE ago ") {
		t.Errorf("%s\nwant %s", got, want)
	}
	if text := plain(mustCall(t, with("callers", "--service", echoService, "--sort", "calls")...)); !strings.Contains(text, "P99\n"+id(first)) {
		t.Error(text)
	}
	code, stdout, stderr := call(with("callers", echoService, "--limit", "1")...)
	if code != 0 || strings.Count(stdout, "bob") != 1 || !strings.Contains(stderr, "easyops: 1 of 2 are shown: ") {
		t.Errorf("code %d, %s, %s", code, stdout, stderr)
	}
	if text := mustCall(t, with("callers", echoService, "--filter", "nobody at all")...); text != "There are no such calls.\n" {
		t.Error(text)
	}
	if code, _, stderr := call(with("callers", echoService, "--sort", "x")...); code != 1 || !strings.Contains(stderr, "use one of method, caller, calls") {
		t.Errorf("code %d, %s", code, stderr)
	}
	// The orders of servers are all known here.
	for _, page := range []struct {
		name   string
		orders []string
	}{{"callers", keysOf(callerOrders)}, {"conns", keysOf(inboundOrders)}} {
		for _, key := range page.orders {
			mustCall(t, with(page.name, echoService, "--sort", "-"+key)...)
		}
		_, _, stderr := call(with(page.name, echoService, "--sort", "x")...)
		_, list, _ := strings.Cut(stderr, "use one of ")
		list, _, _ = strings.Cut(list, ", with ")
		for _, key := range strings.Split(list, ", ") {
			if !slices.Contains(page.orders, key) {
				t.Errorf("%s: %q is not known here", page.name, key)
			}
		}
	}
}

func keysOf[T any](m map[string]T) (keys []string) {
	for key := range m {
		keys = append(keys, key)
	}
	return keys
}

func callEcho(t *testing.T, s *easyopstest.Server, text string) {
	t.Helper()
	client, conn, err := echov1.DialEchoService(s.Client(), easyops.DialTarget(s.Addr().String()), easyopstest.AsUser("bob"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, _ = client.Echo(ctx, &echov1.EchoRequest{Message: text})
}

func TestConns(t *testing.T) {
	f := newFleet(t)
	a := f.add()
	if text := plain(mustCall(t, "conns", a.Addr)); !strings.HasPrefix(text, "PEER WHO PROTOCOL TLS AGE IN FLIGHT CALLS RECEIVED SENT\n127.0.0.1:") || !strings.Contains(text, " HTTP/1 - AGE ") {
		t.Error(text)
	}
	if text := plain(mustCall(t, "conns", "--outbound", a.Addr)); text != "There are no clients of other services.\n" && text != "There are no clients of other services." {
		t.Error(text)
	}
	if code, _, stderr := call("conns", "--outbound", "--sort", "age", a.Addr); code != 2 || !strings.Contains(stderr, "are not for --outbound") {
		t.Errorf("code %d, %s", code, stderr)
	}
	var table bytes.Buffer
	now := time.Now()
	out := pages.Outbound{Service: "x", State: "READY", Instances: []pages.OutboundInstance{{
		ID: "i", Addr: "h:1", Class: "plain", Health: "READY", State: "READY", Since: now.Add(-time.Minute), InFlight: 1, Calls: 2, Failures: 3,
		Latency: pages.Seconds(1234567), LastError: "\x1b[2J", EjectedUntil: now.Add(time.Hour),
	}}}
	none := pages.Outbound{Service: "y", State: "TRANSIENT_FAILURE", Error: "no registry"}
	if err := outboundTable(&table, []answer[pages.ConnectionsData]{{Page: &pages.ConnectionsData{Outbound: []pages.Outbound{out, none}}}}); err != nil {
		t.Fatal(err)
	}
	if got := plain(table.String()); !strings.HasSuffix(got, "\nx READY i h:1 plain READY READY, kept away AGE 1 2 3 1.23ms \\x1b[2J\ny TRANSIENT_FAILURE - - - - - - - - - - no registry") {
		t.Error(got)
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "", 12: "12ns", 1234: "1.23µs", 123456: "123µs", 1234567: "1.23ms", 999999999: "1s", 12345678901: "12.35s", 123 * time.Second: "2m3s",
	} {
		if got := short(pages.Seconds(d)); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 5 << 20: "5.0 MiB", 1 << 63: "8.0 EiB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

// What servers say moves no terminal, whatever the page.
func TestHostilePages(t *testing.T) {
	f := newFleet(t)
	const evil = `\u001b[2J\u009b\u202e\n`
	row := `"method":"E","kind":"E","caller":"E","name":"E","value":"E","default":"E","type":"E","source":"E","peer":"E","protocol":"E","user":"E","service":"E","tls":"E","state":"E","error":"E","cleared_by":"E","errors":{"E":1},"old":"E","new":"E"`
	rows := "[{" + row + "}]"
	page := strings.ReplaceAll(`{"parameters":ROWS,"changed":ROWS,"callers":ROWS,"inbound":ROWS,"outbound":ROWS,"caches":ROWS,"cleared":["E"],"state":"E"}`, "ROWS", rows)
	f.addFake("a", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == shutdownPage {
			w.WriteHeader(http.StatusAccepted)
		}
		fmt.Fprint(w, strings.ReplaceAll(page, "E\"", evil+"\""))
	})
	for _, command := range []string{"flags", "flags --json", "flags set x=1", "callers", "callers --json", "conns", "conns --outbound", "cache", "cache clear -y", "shutdown"} {
		code, stdout, stderr := call(append(strings.Fields(command), "a")...)
		if code != 0 || strings.ContainsAny(stdout+stderr, "\x1b\u009b\u202e") || !strings.Contains(stdout, "[2J") {
			t.Errorf("%s: code %d, %q, %q", command, code, stdout, stderr)
		}
	}
}
