package etcd

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestRefusedStream has a token count as stale only where a watch was refused
// for that, and without waiting for who logs in meanwhile. A login costs etcd
// a hash of the password and a write.
func TestRefusedStream(t *testing.T) {
	began := time.Now()
	for _, tt := range []struct {
		reason string
		age    time.Duration // of the token when the stream was opened; below 0 it is newer
		stale  bool
	}{
		{rpctypes.ErrGRPCPermissionDenied.Error(), time.Second, false},
		{rpctypes.ErrGRPCNoLeader.Error(), time.Second, false},
		{"", time.Second, false},
		{rpctypes.ErrGRPCInvalidAuthToken.Error(), time.Second, true},
		{rpctypes.ErrGRPCAuthOldRevision.Error(), time.Second, true},
		{rpctypes.ErrGRPCInvalidAuthToken.Error(), -time.Second, false},
	} {
		l := newLogin(config{user: "u", passwordFile: t.TempDir() + "/none"}, nil, nil)
		l.token = token{text: "t", since: began.Add(-tt.age)}
		s := &watchStream{client: &client{login: l}, opened: began}
		l.done = make(chan struct{}) // someone logs in
		if err := s.look(&pb.WatchResponse{Canceled: true, CancelReason: tt.reason}, true); err == nil {
			t.Errorf("%q is no error", tt.reason)
		}
		l.done = nil
		_, err := l.get(t.Context(), began.Add(-time.Minute)) // without a password it fails where it asks
		if asks := err != nil; asks != tt.stale {
			t.Errorf("%q, token of %v: asks for a token %v, want %v", tt.reason, tt.age, asks, tt.stale)
		}
	}
}

// refusing is an etcd that takes no token for renewals.
type refusing struct {
	pb.LeaseClient
	pb.Lease_LeaseKeepAliveClient
}

func (r refusing) LeaseKeepAlive(context.Context, ...grpc.CallOption) (pb.Lease_LeaseKeepAliveClient, error) {
	return r, nil
}
func (refusing) Send(*pb.LeaseKeepAliveRequest) error { return nil }
func (refusing) Recv() (*pb.LeaseKeepAliveResponse, error) {
	return nil, rpctypes.ErrGRPCInvalidAuthToken
}

// TestRefusedRenewal has a renewal that is refused for its token, as etcd 3.7
// does, lead to a new one.
func TestRefusedRenewal(t *testing.T) {
	l := newLogin(config{user: "u", passwordFile: t.TempDir() + "/none"}, nil, nil)
	l.token = token{text: "t", since: time.Now()}
	r := renewer{lease: &lease{client: &client{login: l, leases: refusing{}}}}
	if _, err := r.renew(t.Context()); err == nil || !strings.Contains(err.Error(), "invalid auth token") {
		t.Errorf("it says %v", err)
	}
	if tok, err := l.get(t.Context(), time.Time{}); err == nil {
		t.Errorf("the token %+v is used again", tok)
	}
}

func TestNeeds(t *testing.T) {
	for want, keys := range map[string][]string{
		"read of keys that begin with easyops/":                       {"easyops/"},
		"read of keys that begin with p/a/ or p/b/":                   {"p/a/1", "p/a/2", "p/b/1"},
		"read of keys that begin with a/ or b/ or c/ or d/ or 2 more": {"a/", "b/", "c/", "d/", "e/", "f/"},
	} {
		if got := needFor("read", keys...).String(); got != want {
			t.Errorf("%q: %q, want %q", keys, got, want)
		}
	}
}

func TestExplainConnections(t *testing.T) {
	c := &client{config: config{endpoints: "h:1"}}
	for text, want := range map[string]string{
		`last connection error: connection error: desc = "transport: Error while dialing: dial tcp 10.0.0.1:2379: connect: connection refused"`:      "no answer from etcd at h:1: 10.0.0.1:2379: connection refused",
		`connection error: desc = "transport: authentication handshake failed: tls: failed to verify certificate: x509: it is of \"x\""`:             `no answer from etcd at h:1: tls: failed to verify certificate: x509: it is of "x"`,
		`closing transport due to: connection error: desc = "error reading from server: EOF", received prior goaway: code: NO_ERROR, debug data: ""`: "no answer from etcd at h:1: error reading from server: EOF",
		"connection error: desc = half":     "no answer from etcd at h:1: half",
		"etcdserver: request timed out":     "etcdserver: request timed out",
		"error reading from server: EOF":    "no answer from etcd at h:1: error reading from server: EOF",
		"etcdserver: too many requests":     "etcdserver: too many requests",
		"etcdserver: no such thing: \x1b[0": "etcdserver: no such thing: \x1b[0",
	} {
		if got := c.explain(status.Error(codes.Unavailable, text), need{}).Error(); got != want {
			t.Errorf("%s\nis %s\nwant %s", text, got, want)
		}
	}
	if err := c.explain(status.Error(codes.DeadlineExceeded, "context deadline exceeded while waiting for connections to become ready"), need{}); !errors.Is(err, errSilent) {
		t.Errorf("a time out is %v", err)
	}
	if err := c.explain(status.Error(codes.Unavailable, "x"), need{}); strings.Contains(err.Error(), "rpc error") {
		t.Errorf("it says %v", err)
	}
}

// An etcd that gives no answer has one wording, whatever gRPC says of it, with
// how long it has given none.
func TestNoAnswer(t *testing.T) {
	c := &client{config: config{endpoints: "h:1,h:2"}, began: time.Now().Add(-9 * time.Second)}
	c.answered.Store(int64(time.Second))
	s := &watchStream{client: c, missed: maxMissed}
	for want, err := range map[string]error{
		"": c.explain(status.Error(codes.DeadlineExceeded, "context deadline exceeded"), need{}),
		": keepalive ping failed to receive ACK within timeout":                                   c.explain(status.Error(codes.Unavailable, "keepalive ping failed to receive ACK within timeout"), need{}),
		": error reading server preface: raw-read tcp h:5->h:1: use of closed network connection": c.explain(status.Error(codes.Unavailable, `connection error: desc = "error reading server preface: raw-read tcp h:5->h:1: use of closed network connection"`), need{}),
		": h:1: connection refused": c.explainLate(status.Error(codes.Canceled, `last connection error: connection error: desc = "transport: Error while dialing: dial tcp h:1: connect: connection refused"`)),
	} {
		if got := err.Error(); got != "no answer from etcd at h:1,h:2 for 8s"+want || !errors.Is(err, errSilent) {
			t.Errorf("it says %q, want it to end in %q", got, want)
		}
	}
	const plain = "no answer from etcd at h:1,h:2 for 8s"
	for what, err := range map[string]error{"watch": s.check(), "late": c.explainLate(status.Error(codes.Canceled, "context canceled"))} {
		if err == nil || err.Error() != plain {
			t.Errorf("%s: it says %v", what, err)
		}
	}
	// Given up by the caller, or answered: that is not it.
	for _, err := range []error{status.Error(codes.Canceled, "context canceled"), status.Error(codes.Unavailable, "etcdserver: shutting down"), rpctypes.ErrGRPCNoLeader} {
		if got := c.explain(err, need{}); errors.Is(got, errSilent) {
			t.Errorf("%v becomes %v", err, got)
		}
	}
	l := &lease{time: 10 * time.Second}
	if got := l.unrenewed(s.check()).Error(); got != plain+"; the lease could not be renewed for 10s, and etcd drops entries after 10s" {
		t.Error(got)
	}
	if got := l.unrenewed(rpctypes.ErrNoLeader).Error(); got != "the lease could not be renewed for 10s: etcdserver: no leader" {
		t.Error(got)
	}
}

func TestTooLarge(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{status.Error(codes.ResourceExhausted, "grpc: received message larger than max (17 vs. 16)"), true},
		{status.Error(codes.ResourceExhausted, "trying to send message larger than max (17 vs. 16)"), true},
		{rpctypes.ErrGRPCRequestTooManyRequests, false},
		{rpctypes.ErrGRPCNoSpace, false},
		{status.Error(codes.Unavailable, "larger than max"), false},
		{nil, false},
	} {
		if got := tooLarge(tt.err); got != tt.want {
			t.Errorf("%v: %v", tt.err, got)
		}
	}
}
