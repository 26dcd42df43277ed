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
	c := &client{}
	for text, want := range map[string]string{
		`last connection error: connection error: desc = "transport: Error while dialing: dial tcp 10.0.0.1:2379: connect: connection refused"`:      "etcd is not reached: 10.0.0.1:2379: connection refused",
		`connection error: desc = "transport: authentication handshake failed: tls: failed to verify certificate: x509: it is of \"x\""`:             `etcd is not reached: tls: failed to verify certificate: x509: it is of "x"`,
		`closing transport due to: connection error: desc = "error reading from server: EOF", received prior goaway: code: NO_ERROR, debug data: ""`: "etcd is not reached: error reading from server: EOF",
		"connection error: desc = half":     "etcd is not reached: half",
		"etcdserver: request timed out":     "etcdserver: request timed out",
		"error reading from server: EOF":    "error reading from server: EOF",
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
