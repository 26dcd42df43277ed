package etcd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/go-easyops/easyops/runtime/registry"
)

// item is an entry that is listed, or was before an interruption.
type item struct {
	key      string
	instance registry.Instance
	until    time.Time // when to forget it; zero for what is listed
}

// relist reads all entries and notes them.
func (f *feed) relist(ctx context.Context) error {
	var fresh []*item
	at, err := f.client.list(ctx, f.prefix, func(kv *mvccpb.KeyValue) {
		if it := f.read(kv); it != nil {
			fresh = append(fresh, it)
		}
	})
	if err != nil {
		return err
	}
	now := time.Now()
	other := at.cluster != f.at.cluster || at.revision < f.at.revision // wiped, or restored
	f.merge(fresh, now, other || now.Sub(f.heard) > blinkTime)
	f.at, f.heard = at, now
	f.limit(!at.all)
	f.heal()
	f.changed()
	return nil
}

// read returns the entry of a key, or nil where that is none, which is logged
// once for each key.
func (f *feed) read(kv *mvccpb.KeyValue) *item {
	i, err := decode(f.service, strings.TrimPrefix(string(kv.Key), f.prefix), kv.Value)
	if err == nil {
		return &item{key: string(kv.Key), instance: i}
	}
	key := string(kv.Key)
	if _, known := f.bad[key]; !known && len(f.bad) < maxBad {
		f.bad[key] = struct{}{}
		f.logger().Warn("registry entry is skipped", "key", fmt.Sprintf("%+.256q", key), "err", err)
	}
	return nil
}

// merge makes the fresh items the ones that are known. Those that were known
// before and are missing now are gone, but after an outage: then they stay for
// one more lease, in which their servers come back if they still run.
func (f *feed) merge(fresh []*item, now time.Time, outage bool) {
	old := f.items
	f.items = fresh
	for _, it := range old {
		if outage {
			it.until = now.Add(leaseTime)
		}
		at, found := f.find(it.key)
		if !found && !it.until.IsZero() && len(f.items) < registry.MaxInstances {
			f.items = slices.Insert(f.items, at, it)
		}
	}
	f.plan()
}

// take notes what a message of the watch says.
func (f *feed) take(resp *pb.WatchResponse) error {
	f.heard = time.Now()
	progress := len(resp.Events) == 0 && !resp.Created // what begins may lag behind
	if resp.Header.ClusterId != f.at.cluster || progress && resp.Header.Revision < f.at.revision {
		return errBackInTime
	}
	for _, e := range resp.Events {
		if e.Kv.ModRevision <= f.at.revision {
			continue // listed
		}
		at, known := f.find(string(e.Kv.Key))
		switch {
		case e.Type == mvccpb.DELETE && known:
			f.items = slices.Delete(f.items, at, at+1)
			if f.full {
				return errRoom
			}
		case e.Type == mvccpb.PUT:
			f.put(e.Kv, at, known)
		default:
			continue
		}
		f.changed()
	}
	switch n := len(resp.Events); {
	case n > 0 && !resp.Fragment:
		f.at.revision = resp.Events[n-1].Kv.ModRevision
	case progress && resp.WatchId >= 0: // it came in line with the changes, which an answer to check may not
		f.at.revision = resp.Header.Revision
	}
	return nil
}

// put notes an entry, which belongs at a position. One that is bad does not
// take the place of a good one at once: its server puts that right.
func (f *feed) put(kv *mvccpb.KeyValue, at int, known bool) {
	it := f.read(kv)
	switch {
	case it == nil && known:
		f.items[at].until = time.Now().Add(leaseTime)
		f.plan()
	case it == nil:
	case known:
		f.items[at] = it
	case len(f.items) >= registry.MaxInstances:
		f.limit(true)
	default:
		f.items = slices.Insert(f.items, at, it)
	}
}

// limit notes whether there are more entries than are followed.
func (f *feed) limit(full bool) {
	if full && !f.full {
		f.logger().Warn("registry lists too many instances, the last are left out", "followed", registry.MaxInstances)
	}
	f.full = full
}

// find returns where the item of a key is, or would be.
func (f *feed) find(key string) (int, bool) {
	return slices.BinarySearchFunc(f.items, key, func(it *item, key string) int { return strings.Compare(it.key, key) })
}

// plan sets when to look for items to forget.
func (f *feed) plan() {
	var first time.Time
	for _, it := range f.items {
		if !it.until.IsZero() && (first.IsZero() || it.until.Before(first)) {
			first = it.until
		}
	}
	f.expiry = nil
	if !first.IsZero() {
		f.expiry = time.After(time.Until(first))
	}
}

// expire forgets the items whose servers did not come back.
func (f *feed) expire(now time.Time) {
	before := len(f.items)
	f.items = slices.DeleteFunc(f.items, func(it *item) bool { return !it.until.IsZero() && !it.until.After(now) })
	if len(f.items) != before {
		f.changed()
	}
	f.plan()
}
