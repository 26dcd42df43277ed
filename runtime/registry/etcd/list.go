package etcd

import (
	"cmp"
	"context"

	"go.etcd.io/etcd/api/v3/mvccpb"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/registry"
)

// pageSize is how many entries an answer has. They fit into maxAnswer, where
// they are ours.
const pageSize = 1000

// listing is what a prefix held at a revision.
type listing struct {
	cluster  uint64
	revision int64
	all      bool // not cut at [registry.MaxInstances]
}

// list calls each with the keys and values under a prefix, in the order of the
// keys, as they are at one revision, which the cluster agrees on.
func (c *client) list(ctx context.Context, prefix string, each func(*mvccpb.KeyValue)) (listing, error) {
	var l listing
	from, limit := prefix, int64(pageSize)
	for left := int64(registry.MaxInstances); left > 0; {
		resp, err := c.page(ctx, from, rangeEnd(prefix), l.revision, min(limit, left))
		if status.Code(err) == codes.ResourceExhausted && limit > 1 { // values that others made huge
			limit /= 2
			continue
		}
		if err != nil {
			return l, c.explain(err)
		}
		l.cluster, l.revision = resp.Header.ClusterId, cmp.Or(l.revision, resp.Header.Revision)
		for _, kv := range resp.Kvs {
			each(kv)
		}
		if !resp.More || len(resp.Kvs) == 0 {
			l.all = true
			break
		}
		left -= int64(len(resp.Kvs))
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
	return l, nil
}

func (c *client) page(ctx context.Context, from, end string, revision, limit int64) (*pb.RangeResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return c.kv.Range(ctx, &pb.RangeRequest{Key: []byte(from), RangeEnd: []byte(end), Revision: revision, Limit: limit})
}
