package etcd

import (
	"cmp"
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// healTime is between two times that the keys are put back, at least: someone
// else may insist.
const healTime = time.Second

// guard watches the keys of the lease until the context ends. What others
// delete or overwrite is put back.
func (l *lease) guard(ctx context.Context) {
	for check, delay := false, minRetry; ; check, delay = true, min(2*delay, maxRetry) {
		began := time.Now()
		_ = l.watch(ctx, check)
		if time.Since(began) > maxRetry {
			delay = minRetry
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(rand.N(delay)):
		}
	}
}

// watch watches the keys until that breaks, or they are other ones. Where it
// did before, it first looks at what has become of the keys.
func (l *lease) watch(ctx context.Context, check bool) error {
	if check {
		if err := l.check(ctx); err != nil {
			return err
		}
	}
	l.mu.Lock()
	keys, revision := slices.Sorted(maps.Keys(l.values)), l.revision
	select {
	case <-l.rekeyed:
	default:
	}
	l.mu.Unlock()

	ranges := make([]keyRange, len(keys))
	for n, key := range keys {
		ranges[n].key = key
	}
	s, err := l.client.open(ctx, revision, ranges...)
	if err != nil {
		return err
	}
	defer s.close()
	for err == nil {
		select {
		case <-l.rekeyed:
			return nil
		case <-s.ticker.C:
			err = s.check()
		case resp, ok := <-s.news:
			if err = s.look(resp, ok); err == nil {
				err = l.inspect(ctx, resp.Events)
			}
		}
	}
	return err
}

// inspect puts the keys back if an event is not of our making.
func (l *lease) inspect(ctx context.Context, events []*mvccpb.Event) error {
	for _, e := range events {
		if e.Type == mvccpb.PUT && e.Kv.Lease == l.id {
			continue
		}
		l.mu.Lock()
		_, listed := l.values[string(e.Kv.Key)]
		past := e.Kv.ModRevision <= l.revision // put back since
		l.mu.Unlock()
		if listed && !past {
			return l.heal(ctx, string(e.Kv.Key))
		}
	}
	return nil
}

// heal puts all keys back, unless that was just done.
func (l *lease) heal(ctx context.Context, key string) error {
	l.mu.Lock()
	warned := l.warned
	l.warned = true
	l.mu.Unlock()
	if warned {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(healTime):
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.write(ctx, l.values); err != nil {
		return err
	}
	if !warned {
		l.logger.Warn("registry entry was deleted or overwritten by someone else, and is put back", "instance", l.instance, "service", services(l.client.config.prefix, []string{key}))
	}
	return nil
}

// check looks whether the keys are still there and ours, and puts them back
// where not.
func (l *lease) check(ctx context.Context) error {
	l.mu.Lock()
	keys := slices.Sorted(maps.Keys(l.values))
	l.mu.Unlock()
	var revision int64 // of the first answer: the watch begins after it
	for part := range slices.Chunk(keys, maxOps) {
		ops := make([]*pb.RequestOp, len(part))
		for n, key := range part {
			get := &pb.RangeRequest{Key: []byte(key)}
			ops[n] = &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: get}}
		}
		limited, cancel := context.WithTimeout(ctx, askTimeout)
		resp, err := l.client.kv.Txn(limited, &pb.TxnRequest{Success: ops})
		cancel()
		if err != nil {
			return l.client.explain(err, needFor("read", part...))
		}
		for n, r := range resp.Responses {
			kvs := r.GetResponseRange().GetKvs()
			if len(kvs) != 1 || kvs[0].Lease != l.id {
				return l.heal(ctx, part[n])
			}
		}
		revision = cmp.Or(revision, resp.Header.Revision)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revision = max(l.revision, revision)
	return nil
}
