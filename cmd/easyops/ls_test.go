package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/registry"
)

func TestLs(t *testing.T) {
	f := newFleet(t)
	expect(t, 0, "There are no instances in the local registry in "+strings.TrimPrefix(f.url, "local:")+".\n", "ls")
	where := "in the local registry in " + strings.TrimPrefix(f.url, "local:")
	expect(t, 1, "easyops: no instance of echo.v1.EchoService is listed "+where+": nothing else is listed there either\n", "ls", echoService)

	a := f.addSecure(easyops.WithTags("release", "next", "zone", "eu-1"), easyops.WithOwner("alice"))
	b := f.add()
	all := []string{
		echoService + " " + a.ID + " " + a.Addr + " READY 0s " + dash(a.Version) + " zone=eu-1,release=next alice grpc,status\n",
		echoService + " " + b.ID + " " + b.Addr + " READY 0s " + dash(b.Version) + " - - grpc,status\n",
	}
	slices.Sort(all)
	const header = "SERVICE INSTANCE ADDRESS HEALTH UP VERSION TAGS OWNER KINDS\n"
	expect(t, 0, header+strings.Join(all, ""), "ls", echoService)
	greeter := greeterService + " " + a.ID + " " + a.Addr + " READY 0s " + dash(a.Version) + " zone=eu-1,release=next alice grpc,status\n"
	expect(t, 0, header+strings.Join(all, "")+greeter, "ls")
	expect(t, 0, header+greeter, "ls", "--registry", f.url, greeterService)

	expect(t, 1, "easyops: no instance of echo.v1.EchoServic is listed "+where+": did you mean echo.v1.EchoService?\n", "ls", "echo.v1.EchoServic")
	expect(t, 1, "easyops: no instance of shop is listed "+where+": easyops ls lists what there is\n", "ls", "shop")
	expect(t, 2, "easyops: \"a b\" is no name of a service: write it as in the .proto file, such as echo.v1.EchoService\n", "ls", "a b")
	expect(t, 2, "easyops: ls: name one service, or none for all\n", "ls", "a", "b")

	got := decode[listDocument](t, mustCall(t, "ls", "--json", greeterService))
	i := a
	i.Service = greeterService
	want := listDocument{1, "local registry in " + strings.TrimPrefix(f.url, "local:"), []registry.Instance{i}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	code, stdout, stderr := call("ls", "--json", "shop")
	if none := decode[listDocument](t, stdout); code != 1 || none.Instances == nil || len(none.Instances) != 0 || stderr == "" {
		t.Errorf("code %d, %s, %s", code, stdout, stderr)
	}
}

// What strangers have written into a registry moves no terminal.
func TestStrangersText(t *testing.T) {
	evil := "\x1b]0;owned\a\n\u202e\u009b1m\U000e0041ä"
	i := registry.Instance{
		ID: evil, Service: evil, Addr: evil, Kinds: []registry.Kind{registry.Kind(evil)}, Health: registry.Health(evil),
		Version: evil, Tags: map[string]string{evil: evil}, Owner: evil, StatusAddr: evil,
	}
	var table, doc, line bytes.Buffer
	if err := printTable(&table, instanceTable([]registry.Instance{i}, time.Now())); err != nil {
		t.Fatal(err)
	}
	if err := printJSON(harmless{&doc}, i); err != nil {
		t.Fatal(err)
	}
	changed := i
	changed.Owner = ""
	f := follower{lookup: &lookup{}, out: &line}
	f.say(instanceChange{Event: wasListed, Instance: &i})
	f.say(instanceChange{Event: wasChanged, Instance: &i, Before: &changed})
	f.json = true
	f.say(instanceChange{Event: wasRemoved, Instance: &i})
	newWarnings(&line).Warn("evil", "err", evil)
	for _, text := range []string{table.String(), doc.String(), line.String()} {
		if !strings.Contains(text, "ä") || strings.ContainsAny(text, "\x1b\a\u202e\u009b\U000e0041") {
			t.Errorf("%q", text)
		}
	}
	if n := strings.Count(table.String()+line.String(), "\n"); n != 2+4 {
		t.Errorf("%d lines", n)
	}
	var back registry.Instance
	if err := json.Unmarshal(doc.Bytes(), &back); err != nil || !cmp.Equal(i, back) {
		t.Errorf("%v: %s", err, cmp.Diff(i, back))
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 59 * time.Second: "59s", time.Minute: "1m0s",
		59*time.Minute + 59*time.Second: "59m59s", 90 * time.Minute: "1h30m", day - 1: "23h59m", 49 * time.Hour: "2d1h",
	} {
		if got := age(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

// watching is easyops ls --watch while it runs.
type watching struct {
	t     *testing.T
	lines *json.Decoder
}

// watch runs it until the end of the test.
func watch(t *testing.T, service string) *watching {
	t.Helper()
	reader, writer := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	r := lsRequest{lookup: lookup{timeout: lifetime(10 * time.Second)}, service: service, watch: true, json: true}
	go func() { ended <- r.run(ctx, writer, io.Discard) }()
	t.Cleanup(func() {
		cancel()
		_ = reader.Close()                                         // it may be writing
		if err := <-ended; err != nil && err != io.ErrClosedPipe { //nolint:errorlint // as it is
			t.Error(err)
		}
	})
	return &watching{t, json.NewDecoder(reader)}
}

func (w *watching) want(events ...string) {
	w.t.Helper()
	var got []string
	for range events {
		var c instanceChange
		if err := w.lines.Decode(&c); err != nil {
			w.t.Fatal(err)
		}
		got = append(got, c.Event+" "+c.Instance.ID+" "+c.Instance.Service+" "+string(c.Instance.Health))
		if c.Version != 1 || time.Since(c.Time) > time.Minute || (c.Before != nil) != (c.Event == wasChanged) {
			w.t.Errorf("%+v", c)
		}
	}
	slices.Sort(got)
	slices.Sort(events)
	if diff := cmp.Diff(events, got); diff != "" {
		w.t.Error(diff)
	}
}

func TestWatch(t *testing.T) {
	f := newFleet(t)
	one := entry("a", echoService)
	lease := f.list(one)
	w := watch(t, "")
	w.want("listed a " + echoService + " READY")
	f.list(entry("b", echoService), entry("b", greeterService))
	w.want("added b "+echoService+" READY", "added b "+greeterService+" READY")
	one.Health = registry.Stopping
	if err := lease.Update(t.Context(), []registry.Instance{one}); err != nil {
		t.Fatal(err)
	}
	w.want("changed a " + echoService + " STOPPING")
	if err := lease.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.want("removed a " + echoService + " STOPPING")
}

func TestWatchOne(t *testing.T) {
	f := newFleet(t)
	f.list(entry("a", echoService))
	w := watch(t, echoService)
	w.want("listed a " + echoService + " READY")
	f.list(entry("b", greeterService))
	f.list(entry("c", echoService))
	w.want("added c " + echoService + " READY")
}

func TestWatchText(t *testing.T) {
	var out bytes.Buffer
	l, err := registry.Open("local:"+t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{lookup: &lookup{reg: l}, out: &out}
	w := &followed{follower: f, service: "s", before: map[string]registry.Instance{}}
	i := entry("a", "s")
	w.take([]registry.Instance{i})
	w.take([]registry.Instance{i})
	next := i
	next.Health, next.Tags = registry.NotReady, map[string]string{"zone": "eu-1"}
	w.take([]registry.Instance{next, entry("b", "s")})
	f.unavailable(io.ErrUnexpectedEOF)
	f.unavailable(io.ErrUnexpectedEOF)
	f.available()
	f.available()
	w.take(nil)
	var got []string
	for line := range strings.Lines(out.String()) {
		if _, err := time.Parse("2006-01-02 15:04:05.000", line[:23]); err != nil {
			t.Error(err)
		}
		got = append(got, line[24:])
	}
	want := []string{
		"= s a 127.0.0.1:1 READY\n",
		"~ s a 127.0.0.1:1 health READY -> NOT_READY tags - -> zone=eu-1\n",
		"+ s b 127.0.0.1:1 READY\n",
		"! " + l.String() + " cannot be asked: unexpected EOF\n",
		"! " + l.String() + " answers again\n",
		"- s a 127.0.0.1:1 NOT_READY zone=eu-1\n",
		"- s b 127.0.0.1:1 READY\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Nobody reads any more: it ends.
func TestWatchThatNobodyReads(t *testing.T) {
	f := newFleet(t)
	f.list(entry("a", echoService))
	reader, writer := io.Pipe()
	_ = reader.Close()
	for _, service := range []string{"", echoService} {
		r := lsRequest{lookup: lookup{timeout: lifetime(10 * time.Second)}, service: service, watch: true}
		if err := r.run(t.Context(), writer, io.Discard); err != io.ErrClosedPipe { //nolint:errorlint // as it is
			t.Errorf("%q: %v", service, err)
		}
	}
}

// entry is of a server that there is not.
func entry(id, service string) registry.Instance {
	return registry.Instance{
		ID: id, Service: service, Addr: "127.0.0.1:1", Health: registry.Ready,
		Kinds: []registry.Kind{registry.KindGRPC, registry.KindStatus}, Started: time.Now(),
	}
}

// list lists entries until the end of the test.
func (f *fleet) list(entries ...registry.Instance) registry.Lease {
	f.t.Helper()
	reg, err := registry.Open(f.url, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	lease, err := reg.Register(f.t.Context(), entries)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = lease.Close(context.Background()) })
	return lease
}

// Where there is nothing to print yet, that is said, and not on the output.
func TestWatchOfNothing(t *testing.T) {
	f := newFleet(t)
	for service, says := range map[string]string{"": "no instance is listed in the ", echoService: "no instance of " + echoService + " is listed in the "} {
		reader, writer := io.Pipe()
		warned := watchTo(t, io.Discard, writer, service)
		line, err := bufio.NewReader(reader).ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "easyops: "+says) || !strings.HasSuffix(line, " yet: waiting\n") {
			t.Errorf("%q, %v", line, err)
		}
		_ = reader.Close()
		warned()
	}
	f.list(entry("a", echoService)) // the control
	for _, service := range []string{"", echoService} {
		var warned bytes.Buffer
		reader, writer := io.Pipe()
		end := watchTo(t, writer, &warned, service)
		if _, err := bufio.NewReader(reader).ReadString('\n'); err != nil {
			t.Error(err)
		}
		_ = reader.Close()
		if end(); warned.Len() > 0 {
			t.Error(warned.String())
		}
	}
}

// watchTo runs easyops ls --watch until the function is called.
func watchTo(t *testing.T, out, warn io.Writer, service string) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	r := lsRequest{lookup: lookup{timeout: lifetime(10 * time.Second)}, service: service, watch: true}
	go func() {
		defer close(ended)
		_ = r.run(ctx, out, warn)
	}()
	return func() {
		cancel()
		<-ended
	}
}
