package etcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// renewTimeout is for one attempt to renew a lease. Of those that fit into one,
// several may meet a member that hangs.
const renewTimeout = time.Second

var errGone = errors.New("the registry dropped the entries: etcd does not know their lease any more")

// keep renews the lease three times while it lasts, until the context ends or
// the lease does.
func (l *lease) keep(ctx context.Context) {
	r := renewer{lease: l}
	defer func() { r.reset() }()
	end, wait := l.granted.Add(l.time), l.time/3
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait*9/10 + rand.N(wait/10)):
		}
		asked := time.Now()
		left, err := r.renew(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			end, wait = asked.Add(left), left/3
		case errors.Is(err, errGone):
			l.lose(err)
			return
		case time.Now().After(end):
			l.lose(l.unrenewed(err))
			return
		default: // at once at another member, then slower
			wait = 200 * time.Millisecond
		}
	}
}

// unrenewed is why a lease is given up. That the entries are gone is not said:
// only etcd knows.
func (l *lease) unrenewed(err error) error {
	if errors.Is(err, errSilent) {
		return fmt.Errorf("%w; the lease could not be renewed for %[2]v, and etcd drops entries after %[2]v", err, l.time)
	}
	return fmt.Errorf("the lease could not be renewed for %v: %w", l.time, err)
}

// renewer renews a lease over one stream, as long as that works.
type renewer struct {
	lease  *lease
	stream pb.Lease_LeaseKeepAliveClient
	opened time.Time // the stream, after its token was made
	cancel context.CancelFunc
}

func (r *renewer) reset() {
	if r.cancel != nil {
		r.cancel()
	}
	r.stream, r.cancel = nil, nil
}

// renew returns how long the lease lasts from now on.
func (r *renewer) renew(ctx context.Context) (left time.Duration, err error) {
	if r.stream == nil {
		ctx, r.cancel = context.WithCancel(ctx)
	}
	giveUp := time.AfterFunc(renewTimeout, r.cancel)
	if r.stream == nil {
		r.stream, err = r.lease.client.leases.LeaseKeepAlive(ctx)
		r.opened = time.Now()
	}
	var resp *pb.LeaseKeepAliveResponse
	if err == nil {
		err = r.stream.Send(&pb.LeaseKeepAliveRequest{ID: r.lease.id})
	}
	if err == nil {
		resp, err = r.stream.Recv()
		r.lease.client.note(err)
	}
	timely := giveUp.Stop()
	switch {
	case err != nil:
		r.reset()
		if !timely {
			return 0, r.lease.client.explainLate(err)
		}
		r.lease.client.forget(err, r.opened)
		return 0, r.explain(err)
	case resp.TTL <= 0:
		return 0, errGone
	}
	return time.Duration(resp.TTL) * time.Second, nil
}

// explain looks at the keys only where it has to: who writes them meanwhile
// must not hold up renewals.
func (r *renewer) explain(err error) error {
	var n need
	if errors.Is(rpctypes.Error(err), rpctypes.ErrPermissionDenied) {
		n = r.lease.need()
	}
	return r.lease.client.explain(err, n)
}
