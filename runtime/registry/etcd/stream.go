package etcd

import (
	"context"
	"errors"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A stream that is silent for probeTime is asked whether it lives, and again.
// After maxMissed questions without an answer it does not.
const (
	probeTime = 2 * time.Second
	maxMissed = 2
)

// errSilent is in all errors of an etcd that gives no answer, whether it cannot be
// reached or is silent.
var errSilent = errors.New("no answer")

// keyRange is a key, or with an end all keys from one to before the other.
type keyRange struct{ key, end string }

// watchStream is a watch of some ranges. It ends for good when anything goes
// wrong, because only who lists again afterwards has missed nothing.
type watchStream struct {
	client *client
	ranges []keyRange
	opened time.Time // after its token was made
	ws     pb.Watch_WatchClient
	cancel context.CancelFunc
	ticker *time.Ticker // for check
	missed int          // ticks without an answer
	news   chan *pb.WatchResponse
	err    error // why news is closed, set before
	cut    bool  // it was closed because the connection broke; it lacks nothing up to there
}

// open starts to watch from a revision on, which is one that was, and whose
// changes are no news: etcd gives no sign of life to who waits for revisions
// to come. The caller closes the stream.
func (c *client) open(ctx context.Context, rev int64, ranges ...keyRange) (*watchStream, error) {
	ctx, cancel := context.WithCancel(ctx)
	giveUp := time.AfterFunc(askTimeout, cancel)
	ws, err := c.watch.Watch(ctx)
	opened := time.Now()
	for _, r := range ranges {
		if err == nil {
			err = ws.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
				Key: []byte(r.key), RangeEnd: []byte(r.end), StartRevision: rev, Fragment: true, ProgressNotify: true,
			}}})
		}
	}
	if timely := giveUp.Stop(); err != nil || !timely {
		cancel()
		if !timely {
			return nil, c.explainLate(err)
		}
		return nil, c.explain(err, needForRanges(ranges))
	}
	s := &watchStream{client: c, ranges: ranges, opened: opened, ws: ws, cancel: cancel, ticker: time.NewTicker(probeTime), news: make(chan *pb.WatchResponse)}
	go s.receive(ctx)
	return s, nil
}

func (s *watchStream) receive(ctx context.Context) {
	defer close(s.news)
	for {
		resp, err := s.ws.Recv()
		s.client.note(err)
		if err != nil {
			s.err, s.cut = s.client.explain(err, needForRanges(s.ranges)), status.Code(err) == codes.Unavailable
			return
		}
		select {
		case s.news <- resp:
		case <-ctx.Done():
			s.err = ctx.Err()
			return
		}
	}
}

// close ends the stream and waits for its end.
func (s *watchStream) close() {
	s.cancel()
	s.ticker.Stop()
	for range s.news {
		continue // it is of no use any more
	}
}

// check is called at each tick. It asks a stream that was silent since the last
// one for a sign of life, and returns an error where none came.
func (s *watchStream) check() error {
	if s.missed++; s.missed > maxMissed {
		return s.client.noAnswer("")
	}
	return s.ws.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
}

// look returns the error that a message from news stands for.
func (s *watchStream) look(resp *pb.WatchResponse, ok bool) error {
	if !ok {
		return s.err
	}
	s.missed = 0
	switch {
	case resp.CompactRevision != 0:
		return rpctypes.ErrCompacted
	case resp.Canceled:
		err := refusal(resp.CancelReason)
		s.client.forget(err, s.opened)
		return s.client.explain(err, needForRanges(s.ranges))
	}
	return nil
}

func needForRanges(ranges []keyRange) need {
	keys := make([]string, len(ranges))
	for n, r := range ranges {
		keys[n] = r.key
	}
	return needFor("read", keys...)
}

// forget has the token not be used again that a stream had which was opened
// then, if its error says that it is stale.
func (c *client) forget(err error, opened time.Time) {
	if c.login != nil && stale(err) {
		c.login.forget(opened)
	}
}

// refusal makes an error of the text of one.
func refusal(reason string) error {
	if at := strings.LastIndex(reason, "desc = "); at >= 0 {
		reason = reason[at+len("desc = "):]
	}
	return status.Error(codes.Unknown, reason)
}
