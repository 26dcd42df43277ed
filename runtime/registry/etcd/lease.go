package etcd

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/go-easyops/easyops/runtime/registry"
)

// maxOps is how many keys a transaction may change. More are written in
// several.
const maxOps = 128

// lease is the hold on the entries of one server. Two goroutines look after
// it: one keeps it alive, one watches its keys.
type lease struct {
	client   *client
	logger   *slog.Logger // of who registered
	release  func()       // gives the client back
	id       int64
	instance string
	time     time.Duration // that etcd gave it
	granted  time.Time     // when it was asked for

	cancel   context.CancelFunc
	wg       sync.WaitGroup
	stop     sync.Once
	lost     chan struct{}
	why      error // set before lost is closed
	loseOnce sync.Once
	rekeyed  chan struct{} // the keys are other ones

	mu       sync.Mutex
	values   map[string]string // what is to be listed
	revision int64             // at which that was written
	warned   bool              // of others who change our keys
}

// grant makes a lease with the values on it.
func grant(ctx context.Context, c *client, values map[string]string, instance string, logger *slog.Logger) (*lease, error) {
	l := &lease{
		client: c, logger: logger, instance: instance, granted: time.Now(),
		lost: make(chan struct{}), rekeyed: make(chan struct{}, 1),
	}
	limited, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	resp, err := c.leases.LeaseGrant(limited, &pb.LeaseGrantRequest{TTL: int64(leaseTime / time.Second)})
	if err != nil {
		return nil, c.explain(err, need{})
	}
	l.id, l.time = resp.ID, time.Duration(resp.TTL)*time.Second
	var life context.Context
	life, l.cancel = context.WithCancel(context.Background())
	if err := l.write(ctx, values); err != nil {
		l.cancel()
		_ = l.revoke(context.WithoutCancel(ctx), askTimeout/3) // else it ends by itself
		return nil, err
	}
	l.wg.Go(func() { l.keep(life) })
	l.wg.Go(func() { l.guard(life) })
	return l, nil
}

// Lost implements [registry.Lease].
func (l *lease) Lost() <-chan struct{} { return l.lost }

// lose ends what looks after the lease: its keys are for another one to take.
func (l *lease) lose(why error) {
	l.loseOnce.Do(func() {
		l.cancel()
		l.why = why
		close(l.lost)
	})
}

// Err says why the lease is lost, once it is.
func (l *lease) Err() error {
	select {
	case <-l.lost:
		return l.why
	default:
		return nil
	}
}

// Update implements [registry.Lease].
func (l *lease) Update(ctx context.Context, instances []registry.Instance) error {
	values, err := l.client.config.encodeAll(instances)
	if err == nil && instances[0].ID != l.instance {
		err = errors.New("the ID of a server does not change")
	}
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		err = l.write(ctx, values)
	}
	return err
}

// Close implements [registry.Lease].
func (l *lease) Close(ctx context.Context) error {
	c, release, err := acquire(l.client.config)
	if err == nil {
		defer release()
		l.stop.Do(func() {
			l.cancel()
			l.wg.Wait()
			l.release()
		})
		l.client = c // an earlier Close gave the other one back
		err = l.revoke(ctx, askTimeout)
	}
	return err
}

// revoke ends the lease, and with it its keys.
func (l *lease) revoke(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := l.client.leases.LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: l.id})
	if errors.Is(rpctypes.Error(err), rpctypes.ErrLeaseNotFound) {
		return nil
	}
	return l.client.explain(err, l.need())
}

// need is for what changes the lease.
func (l *lease) need() need {
	l.mu.Lock()
	defer l.mu.Unlock()
	return needFor("readwrite", slices.Sorted(maps.Keys(l.values))...)
}

// write puts the values, and deletes what is no longer to be listed.
func (l *lease) write(ctx context.Context, values map[string]string) error {
	var ops []*pb.RequestOp
	rekeyed := false
	for _, key := range slices.Sorted(maps.Keys(values)) {
		put := &pb.PutRequest{Key: []byte(key), Value: []byte(values[key]), Lease: l.id}
		ops = append(ops, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: put}})
		if _, ok := l.values[key]; !ok {
			rekeyed = true
		}
	}
	for key := range l.values {
		if _, ok := values[key]; !ok {
			del := &pb.DeleteRangeRequest{Key: []byte(key)}
			ops = append(ops, &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: del}})
			rekeyed = true
		}
	}
	for part := range slices.Chunk(ops, maxOps) {
		revision, err := l.commit(ctx, part)
		if err != nil {
			return err
		}
		l.revision = revision
	}
	l.values = values
	if rekeyed {
		select {
		case l.rekeyed <- struct{}{}:
		default:
		}
	}
	return nil
}

func (l *lease) commit(ctx context.Context, ops []*pb.RequestOp) (revision int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	resp, err := l.client.kv.Txn(ctx, &pb.TxnRequest{Success: ops})
	if errors.Is(rpctypes.Error(err), rpctypes.ErrLeaseNotFound) {
		l.lose(errGone)
	}
	if err != nil {
		return 0, l.client.explain(err, needFor("readwrite", keysOf(ops)...))
	}
	return resp.Header.Revision, nil
}

// keysOf returns the keys that operations of a transaction change.
func keysOf(ops []*pb.RequestOp) []string {
	keys := make([]string, len(ops))
	for n, op := range ops {
		if put := op.GetRequestPut(); put != nil {
			keys[n] = string(put.Key)
		} else {
			keys[n] = string(op.GetRequestDeleteRange().GetKey())
		}
	}
	return keys
}

// services names what the keys list, for logs.
func services(prefix string, keys []string) []string {
	names := make([]string, len(keys))
	for n, key := range keys {
		names[n], _, _ = strings.Cut(strings.TrimPrefix(key, prefix+"/"), "/")
	}
	return names
}
