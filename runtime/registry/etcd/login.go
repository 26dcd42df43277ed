package etcd

import (
	"context"
	"errors"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// How old a token may be. etcd takes it for five minutes after its last use;
// a stream, which has one token for life, begins with a young one.
const (
	tokenAge       = 4 * time.Minute
	streamTokenAge = 30 * time.Second
)

// login holds the token that etcd gives for a user and a password.
type login struct {
	user, file string
	lock       chan struct{} // held while asking for a token, with a context

	token token // guarded by lock
}

type token struct {
	text  string // empty where etcd wants no login
	since time.Time
}

func newLogin(c config) *login {
	return &login{user: c.user, file: c.passwordFile, lock: make(chan struct{}, 1)}
}

// do makes a call with a token, and once more with a new one where etcd does
// not know it any more: after a restart, or a change of its users.
func (l *login) do(ctx context.Context, cc *grpc.ClientConn, age time.Duration, call func(context.Context) error) error {
	t, err := l.get(ctx, cc, time.Now().Add(-age))
	if err == nil {
		err = call(t.with(ctx))
	}
	if !stale(err) {
		return err
	}
	if t, err = l.get(ctx, cc, t.since.Add(1)); err != nil {
		return err
	}
	return call(t.with(ctx))
}

func stale(err error) bool {
	err = rpctypes.Error(err)
	return errors.Is(err, rpctypes.ErrInvalidAuthToken) || errors.Is(err, rpctypes.ErrAuthOldRevision) || errors.Is(err, rpctypes.ErrUserEmpty)
}

func (t token) with(ctx context.Context) context.Context {
	if t.text == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, t.text)
}

// get returns a token that is not older than a time. One caller asks, the
// others wait. The password is read each time.
func (l *login) get(ctx context.Context, cc *grpc.ClientConn, notBefore time.Time) (token, error) {
	select {
	case l.lock <- struct{}{}:
		defer func() { <-l.lock }()
	case <-ctx.Done():
		return token{}, status.FromContextError(ctx.Err()).Err()
	}
	if !l.token.since.Before(notBefore) {
		return l.token, nil
	}
	password, err := readPassword(l.file)
	if err != nil {
		return token{}, err
	}
	resp, err := pb.NewAuthClient(cc).Authenticate(ctx, &pb.AuthenticateRequest{Name: l.user, Password: password})
	if errors.Is(rpctypes.Error(err), rpctypes.ErrAuthNotEnabled) {
		resp, err = &pb.AuthenticateResponse{}, nil // then none is needed
	}
	if err != nil {
		return token{}, err
	}
	l.token = token{text: resp.Token, since: time.Now()}
	return l.token, nil
}

// forget makes the next call ask for a token. Streams are refused by a message
// in them, which no interceptor sees.
func (l *login) forget() {
	l.lock <- struct{}{}
	l.token = token{}
	<-l.lock
}
