package etcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// A login costs etcd a hash of the password, 50 ms of a core as etcd is by
// default, and a write. After a restart of a member all processes want one, and
// one that is given up and asked for again is worked off all the same.
const (
	loginTimeout  = time.Minute
	minLoginDelay = time.Second // between a login that failed and the next one
	maxLoginDelay = time.Minute
)

// login holds the token that etcd gives for a user and a password. It is used
// until etcd refuses it: each use extends the five minutes that a member keeps
// it for, and one that came to its end costs one refused call.
type login struct {
	user, file string
	ask        func(ctx context.Context, password string) (string, error)
	down       *atomic.Bool // of the client
	life       context.Context
	end        context.CancelFunc
	wg         sync.WaitGroup // of the login that is under way

	mu      sync.Mutex
	token   token
	refused time.Time     // tokens from before it are stale
	done    chan struct{} // closed when the login that is under way has ended; nil where there is none
	failure failure       // of the last login
}

type token struct {
	text  string // empty where etcd wants no login
	since time.Time
}

// failure is why a login failed, and until when the same password is not tried
// again.
type failure struct {
	err      error
	password string
	delay    time.Duration
	until    time.Time
}

func newLogin(c config, cc grpc.ClientConnInterface, down *atomic.Bool) *login {
	l := &login{user: c.user, file: c.passwordFile, down: down}
	l.life, l.end = context.WithCancel(context.Background())
	l.ask = func(ctx context.Context, password string) (string, error) {
		resp, err := pb.NewAuthClient(cc).Authenticate(ctx, &pb.AuthenticateRequest{Name: l.user, Password: password})
		if errors.Is(rpctypes.Error(err), rpctypes.ErrAuthNotEnabled) {
			return "", nil // then none is needed
		}
		return resp.GetToken(), err
	}
	return l
}

// close ends a login that is under way.
func (l *login) close() {
	l.end()
	l.wg.Wait()
}

// do makes a call with a token, and once more with a new one where etcd does
// not know it any more: after a restart, or a change of its users.
func (l *login) do(ctx context.Context, cc *grpc.ClientConn, call func(context.Context) error) error {
	t, err := l.await(ctx, cc, time.Time{})
	if err == nil {
		err = call(t.with(ctx))
	}
	if !stale(err) {
		return err
	}
	if t, err = l.await(ctx, cc, t.since.Add(1)); err != nil {
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

// await is get, which in an outage waits for its end. Logins themselves do not,
// so that they can say why there is no connection.
func (l *login) await(ctx context.Context, cc *grpc.ClientConn, notBefore time.Time) (token, error) {
	for wait := l.down.Load(); ; {
		state := cc.GetState()
		t, err := l.get(ctx, notBefore)
		if err == nil || !wait || costly(err) || state == connectivity.Ready || !cc.WaitForStateChange(ctx, state) {
			return t, err
		}
	}
}

// get returns a token that is not older than a time. One login is under way at
// a time, for all who want it, and goes on when they give up.
func (l *login) get(ctx context.Context, notBefore time.Time) (token, error) {
	l.mu.Lock()
	if l.refused.After(notBefore) {
		notBefore = l.refused
	}
	if !l.token.since.IsZero() && !l.token.since.Before(notBefore) {
		defer l.mu.Unlock()
		return l.token, nil
	}
	if err := l.beginLocked(); err != nil {
		defer l.mu.Unlock()
		return token{}, err
	}
	done := l.done
	l.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
		return token{}, fmt.Errorf("etcd has not answered the login of user %q yet: %w", l.user, ctx.Err())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.token, l.failure.err
}

// beginLocked starts a login, unless one is under way or has failed just now.
// The password is read each time: a new one is tried at once.
func (l *login) beginLocked() error {
	if l.done != nil {
		return nil
	}
	password, err := readPassword(l.file)
	if err != nil {
		return err
	}
	if password != l.failure.password {
		l.failure = failure{password: password}
	}
	if time.Now().Before(l.failure.until) {
		return l.failure.err
	}
	l.done = make(chan struct{})
	l.wg.Go(func() { l.run(password) })
	return nil
}

func (l *login) run(password string) {
	ctx, cancel := context.WithTimeout(l.life, loginTimeout)
	defer cancel()
	text, err := l.ask(ctx, password)

	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.token = token{text: text, since: time.Now()}
		l.failure = failure{password: password}
	} else {
		l.failure.fail(err)
	}
	close(l.done)
	l.done = nil
}

// fail notes an error. The next login comes later each time, but for where this
// one cost etcd nothing.
func (f *failure) fail(err error) {
	f.err, f.until = err, time.Time{}
	if costly(err) {
		f.delay = min(max(2*f.delay, minLoginDelay), maxLoginDelay)
		f.until = time.Now().Add(f.delay/2 + rand.N(f.delay/2))
	}
}

// costly reports whether etcd may have hashed a password for what failed. It
// has not where it was not reached, or has no leader.
func costly(err error) bool {
	known := rpctypes.Error(err)
	var e rpctypes.EtcdError
	return status.Code(err) != codes.Unavailable || errors.As(known, &e) && !errors.Is(known, rpctypes.ErrNoLeader)
}

// forget has calls ask for a token where they would use one from before a time,
// that of a stream which was refused: by a message in it, which no interceptor
// sees. It does not wait for a login that is under way.
func (l *login) forget(before time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if before.After(l.refused) {
		l.refused = before
	}
}
