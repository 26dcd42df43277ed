package etcd

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// renewTimeout is for one attempt to renew a lease. Of those that fit into one,
// several may meet a member that hangs.
const renewTimeout = time.Second

var errGone = errors.New("etcd does not know the lease any more")

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
			l.lose(err.Error())
			return
		case time.Now().After(end):
			l.lose("not renewed in time: " + err.Error())
			return
		default: // at once at another member, then slower
			wait = 200 * time.Millisecond
		}
	}
}

// renewer renews a lease over one stream, as long as that works.
type renewer struct {
	lease  *lease
	stream pb.Lease_LeaseKeepAliveClient
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
			err = errSilent
		}
		return 0, r.lease.client.explain(err)
	case resp.TTL <= 0:
		return 0, errGone
	}
	return time.Duration(resp.TTL) * time.Second, nil
}
