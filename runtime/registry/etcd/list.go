package etcd

import (
	"context"
	"strings"

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
	p := pages{client: c, prefix: prefix, end: rangeEnd(prefix), limit: pageSize}
	from := prefix
	for left := int64(registry.MaxInstances); left > 0; {
		resp, err := p.read(ctx, from, left)
		if err != nil {
			return l, err
		}
		if p.revision == 0 {
			p.revision = resp.Header.Revision
		}
		l.cluster, l.revision = resp.Header.ClusterId, p.revision
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

// services returns the names under a prefix, which ends in a slash, each once.
// A page tells many of them, or that a service has more keys than fit into it:
// the rest of those is not read.
func (c *client) services(ctx context.Context, prefix string) (names []string, err error) {
	p := pages{client: c, prefix: prefix, end: rangeEnd(prefix), limit: pageSize, keysOnly: true}
	for from, last := prefix, ""; ; from = rangeEnd(prefix + last + "/") {
		resp, err := p.read(ctx, from, pageSize)
		if err != nil {
			return nil, err
		}
		for _, kv := range resp.Kvs {
			name, _, _ := strings.Cut(strings.TrimPrefix(string(kv.Key), prefix), "/")
			if name != last && registry.ValidService(name) {
				names = append(names, name)
			}
			last = name
		}
		if !resp.More || len(resp.Kvs) == 0 {
			return names, nil
		}
	}
}

// pages reads a range of keys, of which as many at once as fit into an answer.
type pages struct {
	client   *client
	prefix   string
	end      string
	revision int64 // at which to read, 0 for the newest
	keysOnly bool
	limit    int64
}

// read returns the next page, of at most so many keys. Values that others made
// huge may fill an answer; then it asks for fewer, and for more again behind
// them. Nothing else is asked again here.
func (p *pages) read(ctx context.Context, from string, most int64) (*pb.RangeResponse, error) {
	for {
		n := min(p.limit, most)
		resp, err := p.ask(ctx, from, n)
		switch {
		case err == nil:
			p.limit = min(2*p.limit, pageSize)
			return resp, nil
		case !tooLarge(err) || n == 1:
			return nil, p.client.explain(err, needFor("read", p.prefix))
		}
		p.limit = n / 2
	}
}

func (p *pages) ask(ctx context.Context, from string, limit int64) (*pb.RangeResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return p.client.kv.Range(ctx, &pb.RangeRequest{
		Key: []byte(from), RangeEnd: []byte(p.end), Revision: p.revision, Limit: limit, KeysOnly: p.keysOnly,
	})
}

// tooLarge tells an answer that does not fit from a cluster with too much to
// do, which have the same code. The text is that of gRPC on either side.
func tooLarge(err error) bool {
	st := status.Convert(err)
	return st.Code() == codes.ResourceExhausted && strings.Contains(st.Message(), "larger than max")
}
