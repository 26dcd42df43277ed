package etcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
)

// maxAnswer bounds an answer of etcd, in bytes.
const maxAnswer = 16 << 20

// clients are the clusters that this process talks to, each once however many
// registries, leases and watches it has.
var clients struct {
	sync.Mutex
	m map[config]*client
}

// client is the connection to a cluster. It speaks etcd's gRPC API itself:
// what etcd's own client does behind the scenes, such as to resume a watch, is
// what a registry has to see.
type client struct {
	config config
	users  int // guarded by clients
	cc     *grpc.ClientConn
	kv     pb.KVClient
	leases pb.LeaseClient
	watch  pb.WatchClient
	login  *login // nil without a user

	began    time.Time
	answered atomic.Int64 // when etcd last answered, in nanoseconds since then
	down     atomic.Bool  // the last call was not answered

	mu    sync.Mutex
	feeds map[string]*feed
}

// acquire returns the client for a cluster, and what gives it back, which may
// be called more than once.
func acquire(cfg config) (*client, func(), error) {
	clients.Lock()
	defer clients.Unlock()
	c := clients.m[cfg]
	if c == nil {
		var err error
		if c, err = dial(cfg); err != nil {
			return nil, nil, err
		}
		if clients.m == nil {
			clients.m = map[config]*client{}
		}
		clients.m[cfg] = c
	}
	c.users++
	return c, sync.OnceFunc(func() { release(c) }), nil
}

func release(c *client) {
	clients.Lock()
	c.users--
	last := c.users == 0
	if last {
		delete(clients.m, c.config)
	}
	clients.Unlock()
	if last {
		if c.login != nil {
			c.login.close()
		}
		c.cc.Close()
	}
}

func dial(cfg config) (*client, error) {
	c := &client{config: cfg, began: time.Now(), feeds: map[string]*feed{}}
	creds := insecure.NewCredentials()
	if cfg.tls() {
		var err error
		if creds, err = newFreshTLS(cfg); err != nil {
			return nil, err
		}
	}
	members := manual.NewBuilderWithScheme("easyops-etcd")
	members.InitialState(resolver.State{Endpoints: endpoints(cfg)})
	cc, err := grpc.NewClient(members.Scheme()+":///etcd",
		grpc.WithResolvers(members),
		grpc.WithTransportCredentials(creds),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
		grpc.WithUnaryInterceptor(c.unary),
		grpc.WithStreamInterceptor(c.stream),
		// etcd ends connections with pings more often than every 5 s, or
		// without a call.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: askTimeout}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: askTimeout,
		}),
	)
	if err != nil {
		return nil, err
	}
	c.cc, c.kv, c.leases, c.watch = cc, pb.NewKVClient(cc), pb.NewLeaseClient(cc), pb.NewWatchClient(cc)
	if cfg.user != "" {
		c.login = newLogin(cfg, cc, &c.down)
	}
	return c, nil
}

// endpoints are the members. A certificate must be for the host as the URL
// has it.
func endpoints(cfg config) (list []resolver.Endpoint) {
	for addr := range strings.SplitSeq(cfg.endpoints, ",") {
		host, _, _ := net.SplitHostPort(addr)
		list = append(list, resolver.Endpoint{Addresses: []resolver.Address{{Addr: addr, ServerName: host}}})
	}
	return list
}

func (c *client) lastAnswer() time.Time {
	if at := c.answered.Load(); at != 0 {
		return c.began.Add(time.Duration(at))
	}
	return time.Time{}
}

// note takes down how a call or a message of a stream went.
func (c *client) note(err error) {
	st, ok := status.FromError(err)
	if !ok { // of this machine
		return
	}
	switch st.Code() {
	case codes.Unavailable, codes.DeadlineExceeded:
		c.down.Store(true)
	case codes.Canceled: // by us
	default:
		c.down.Store(false)
		c.answered.Store(int64(time.Since(c.began)))
	}
}

// prepare makes a call go to a member that has a leader. The first call of an
// outage fails at once, and says why; those after it wait for its end.
func (c *client) prepare(ctx context.Context, opts []grpc.CallOption) (context.Context, []grpc.CallOption) {
	ctx = metadata.AppendToOutgoingContext(ctx, rpctypes.MetadataRequireLeaderKey, rpctypes.MetadataHasLeader)
	return ctx, append(opts, grpc.WaitForReady(c.down.Load()))
}

func (c *client) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	ctx, opts = c.prepare(ctx, opts)
	login := method == pb.Auth_Authenticate_FullMethodName
	if login { // who wants it waits for the connection
		opts = append(opts, grpc.WaitForReady(false))
	}
	call := func(ctx context.Context) error {
		err := invoke(ctx, method, req, reply, cc, opts...)
		c.note(err)
		return err
	}
	if c.login == nil || login {
		return call(ctx)
	}
	return c.login.do(ctx, cc, call)
}

func (c *client) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (s grpc.ClientStream, err error) {
	ctx, opts = c.prepare(ctx, opts)
	call := func(ctx context.Context) error {
		s, err = open(ctx, desc, cc, method, opts...)
		return err
	}
	if c.login != nil {
		err = c.login.do(ctx, cc, call)
	} else {
		err = call(ctx)
	}
	if err != nil {
		c.note(err)
	}
	return s, err
}

// need is what a role must allow for a call: "read" or "readwrite" of the keys
// that begin so.
type need struct {
	access   string
	prefixes []string
}

func (n need) String() string {
	return fmt.Sprintf("%s of keys that begin with %s", n.access, strings.Join(n.prefixes, " or "))
}

// needFor returns the need for keys: below a service a role allows all or
// nothing.
func needFor(access string, keys ...string) need {
	const most = 4 // that are named
	n := need{access: access}
	for _, key := range keys {
		prefix := key[:strings.LastIndex(key, "/")+1]
		if !slices.Contains(n.prefixes, prefix) {
			n.prefixes = append(n.prefixes, prefix)
		}
	}
	if more := len(n.prefixes) - most; more > 0 {
		n.prefixes = append(n.prefixes[:most], fmt.Sprintf("%d more", more))
	}
	return n
}

// explain makes an error of etcd say what to do about it. The need is that of
// the call.
func (c *client) explain(err error, n need) error {
	if err == nil {
		return nil
	}
	err = rpctypes.Error(err)
	user := "this program"
	if c.config.user != "" {
		user = fmt.Sprintf("user %q", c.config.user)
	}
	switch {
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return fmt.Errorf("%w: a role of %s must allow it: %s", err, user, n)
	case errors.Is(err, rpctypes.ErrUserEmpty):
		return fmt.Errorf("%w: this etcd wants a login: name user and password-file in the registry's URL", err)
	case errors.Is(err, rpctypes.ErrAuthFailed):
		return fmt.Errorf("%w: look at %s and what %s holds", err, user, c.config.passwordFile)
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	if silent(st) {
		return c.noAnswer(causeOf(st))
	}
	return errors.New(st.Message())
}

// silent tells whether an error says that etcd gave no answer, whatever became
// of the question. That etcd is busy, or has no leader, is an answer.
func silent(st *status.Status) bool {
	switch st.Code() {
	case codes.Unavailable, codes.DeadlineExceeded:
		return !strings.HasPrefix(st.Message(), "etcdserver: ")
	}
	_, broken := connectionError(st.Message())
	return broken
}

// noAnswer is the error where etcd gave no answer, for how long, and what is
// known of why, if anything.
func (c *client) noAnswer(cause string) error {
	since := ""
	if last := c.lastAnswer(); !last.IsZero() {
		if d := time.Since(last).Round(time.Second); d > 0 {
			since = fmt.Sprintf(" for %v", d)
		}
	}
	if cause != "" {
		cause = ": " + cause
	}
	return fmt.Errorf("%w from etcd at %s%s%s", errSilent, c.config.endpoints, since, cause)
}

// causeOf is what an error says besides that time was up, which is no cause.
func causeOf(st *status.Status) string {
	if cause, ok := connectionError(st.Message()); ok {
		return cause
	}
	if st.Code() == codes.Unavailable {
		return st.Message()
	}
	return ""
}

// explainLate explains the error of a call that was given up after its time.
func (c *client) explainLate(err error) error {
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	return c.noAnswer(causeOf(st))
}

// connectionError returns what the text of an error says of a connection that
// could not be made or broke, without what gRPC puts around it in several
// layers.
func connectionError(text string) (string, bool) {
	_, quoted, ok := strings.Cut(text, "connection error: desc = ")
	if !ok {
		return "", false
	}
	prefix, err := strconv.QuotedPrefix(quoted)
	if err == nil {
		quoted, _ = strconv.Unquote(prefix) // it is quoted well
	}
	for _, layer := range []string{"transport: ", "Error while dialing: ", "error while dialing: ", "authentication handshake failed: ", "dial tcp "} {
		quoted = strings.TrimPrefix(quoted, layer)
	}
	return strings.Replace(quoted, ": connect: ", ": ", 1), true
}
