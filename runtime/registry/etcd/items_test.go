package etcd

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/go-easyops/easyops/runtime/registry"
)

// newFeed returns a feed without a goroutine, that has listed what the IDs
// name at revision 10 of cluster 1.
func newFeed(log *strings.Builder, ids ...string) *feed {
	f := &feed{
		client:  &client{},
		service: "echo", prefix: "p/echo/", bad: map[string]struct{}{},
		at:       listing{cluster: 1, revision: 10, all: true},
		watchers: map[chan struct{}]*slog.Logger{nil: slog.New(slog.NewTextHandler(log, nil))},
	}
	f.merge(f.readAll(ids...), time.Now(), true)
	return f
}

func (f *feed) readAll(ids ...string) (items []*item) {
	for _, id := range ids {
		items = append(items, f.read(kv(id, 1)))
	}
	return items
}

func kv(id string, revision int64) *mvccpb.KeyValue {
	return &mvccpb.KeyValue{Key: []byte("p/echo/" + id), ModRevision: revision, Value: []byte(`{"Addr":"h:1"}`)}
}

func event(t mvccpb.Event_EventType, id string, revision int64) *mvccpb.Event {
	return &mvccpb.Event{Type: t, Kv: kv(id, revision)}
}

func message(revision int64, events ...*mvccpb.Event) *pb.WatchResponse {
	return &pb.WatchResponse{Header: &pb.ResponseHeader{ClusterId: 1, Revision: revision}, Events: events}
}

func (f *feed) ids() string {
	var ids []string
	for _, it := range f.items {
		id := it.instance.ID
		if !it.until.IsZero() {
			id = "(" + id + ")"
		}
		ids = append(ids, id)
	}
	return strings.Join(ids, " ")
}

func TestTake(t *testing.T) {
	var log strings.Builder
	f := newFeed(&log, "b", "d")
	for _, step := range []struct {
		e    *mvccpb.Event
		want string
	}{
		{event(mvccpb.PUT, "a", 11), "a b d"},
		{event(mvccpb.PUT, "c", 12), "a b c d"},
		{event(mvccpb.PUT, "c", 13), "a b c d"},
		{event(mvccpb.DELETE, "d", 14), "a b c"},
		{event(mvccpb.DELETE, "d", 15), "a b c"},
		{event(mvccpb.DELETE, "a", 10), "a b c"}, // before the listing
		{event(mvccpb.PUT, "x", 9), "a b c"},
	} {
		if err := f.take(message(step.e.Kv.ModRevision, step.e)); err != nil {
			t.Fatal(err)
		}
		if got := f.ids(); got != step.want {
			t.Errorf("after %v: %s, want %s", step.e, got, step.want)
		}
	}
}

// TestBadValueKeepsTheGoodOne plants values that are none.
func TestBadValueKeepsTheGoodOne(t *testing.T) {
	var log strings.Builder
	f := newFeed(&log, "a")
	bad := func(id string) *mvccpb.Event {
		e := event(mvccpb.PUT, id, 11)
		e.Kv.Value = []byte("\x1b[31mnonsense")
		return e
	}
	for range 3 {
		if err := f.take(message(11, bad("a"), bad("b\u202ex"))); err != nil {
			t.Fatal(err)
		}
	}
	if got := f.ids(); got != "(a)" || f.expiry == nil {
		t.Errorf("have %s, with a time to forget it: %v", got, f.expiry != nil)
	}
	if n := strings.Count(log.String(), "skipped"); n != 2 {
		t.Errorf("logged %d times, want once a key: %s", n, log.String())
	}
	if strings.ContainsAny(log.String(), "\x1b\u202e") {
		t.Errorf("the log holds what was planted: %q", log.String())
	}
	if err := f.take(message(12, event(mvccpb.PUT, "a", 12))); err != nil || f.ids() != "a" {
		t.Errorf("after it was put right: %s, %v", f.ids(), err)
	}
}

func TestMergeKeepsTheMissingForOneLease(t *testing.T) {
	f := newFeed(new(strings.Builder), "a", "b", "c")
	now := time.Now()
	f.merge(f.readAll("b"), now, true)
	if got := f.ids(); got != "(a) b (c)" {
		t.Fatalf("have %s", got)
	}
	f.merge(f.readAll("b", "c"), now.Add(leaseTime/2), false)
	f.expire(now.Add(leaseTime - time.Second))
	if got := f.ids(); got != "(a) b c" {
		t.Fatalf("have %s", got)
	}
	f.expire(now.Add(leaseTime))
	if got := f.ids(); got != "b c" {
		t.Fatalf("have %s", got)
	}

	f.merge(f.readAll("b", "c", "d"), now, false)
	f.merge(f.readAll("b", "c"), now, false)
	if got := f.ids(); got != "b c" {
		t.Fatalf("have %s after a blink", got)
	}

	f.merge(nil, now, true)
	f.merge(nil, now.Add(leaseTime/2), true) // another outage begins it again
	f.expire(now.Add(leaseTime + time.Second))
	if got := f.ids(); got != "(b) (c)" {
		t.Errorf("have %s", got)
	}
}

func TestBackInTime(t *testing.T) {
	f := newFeed(new(strings.Builder), "a")
	if err := f.take(message(10)); err != nil {
		t.Error(err)
	}
	if err := f.take(message(9)); !errors.Is(err, errBackInTime) {
		t.Errorf("an earlier revision: %v", err)
	}
	other := message(11)
	other.Header.ClusterId = 2
	if err := f.take(other); !errors.Is(err, errBackInTime) {
		t.Errorf("another cluster: %v", err)
	}
	if f.ids() != "a" {
		t.Errorf("have %s", f.ids())
	}
}

// TestProgress says how far the watch is, in line with the changes, and without
// that. Only the first counts.
func TestProgress(t *testing.T) {
	f := newFeed(new(strings.Builder), "a")
	for _, step := range []struct {
		what string
		m    *pb.WatchResponse
		want int64
	}{
		{"asked for", watchMessage(-1, message(20)), 10},
		{"by itself", watchMessage(0, message(20)), 20},
		{"what begins", &pb.WatchResponse{Header: message(30).Header, Created: true}, 20},
		{"a change", message(31, event(mvccpb.PUT, "b", 31)), 31},
		{"a part of one", fragment(message(32, event(mvccpb.PUT, "c", 32))), 31},
		{"its end", message(32, event(mvccpb.PUT, "d", 32)), 32},
	} {
		if err := f.take(step.m); err != nil || f.at.revision != step.want {
			t.Errorf("%s: at %d, want %d, %v", step.what, f.at.revision, step.want, err)
		}
	}
	if got := f.ids(); got != "a b c d" {
		t.Errorf("have %s", got)
	}
}

func watchMessage(id int64, m *pb.WatchResponse) *pb.WatchResponse { m.WatchId = id; return m }

func fragment(m *pb.WatchResponse) *pb.WatchResponse { m.Fragment = true; return m }

func TestTooMany(t *testing.T) {
	var log strings.Builder
	var ids []string
	for n := range registry.MaxInstances {
		ids = append(ids, fmt.Sprintf("i%05d", n))
	}
	f := newFeed(&log, ids...)
	for n := range 3 {
		if err := f.take(message(11, event(mvccpb.PUT, fmt.Sprint("more", n), 11))); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.items) != registry.MaxInstances || strings.Count(log.String(), "too many") != 1 {
		t.Errorf("%d items, log %s", len(f.items), log.String())
	}
	if err := f.take(message(12, event(mvccpb.DELETE, "i00007", 12))); !errors.Is(err, errRoom) {
		t.Errorf("room is not used: %v", err)
	}
	f.merge(f.readAll("j"), time.Now(), true)
	if len(f.items) != registry.MaxInstances {
		t.Errorf("%d items are kept", len(f.items))
	}
}
