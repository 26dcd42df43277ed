package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// grpcRoute is a route of gRPC that is in force.
type grpcRoute struct {
	routes.GRPCRoute
	route   *easyops.Route
	clients *clients
	tally   *tally
	log     *slog.Logger
}

func newGRPCRoute(r routes.GRPCRoute, c *clients, t *tally, log *slog.Logger) *grpcRoute {
	g := &grpcRoute{GRPCRoute: r, clients: c, tally: t, log: log}
	g.route = &easyops.Route{Name: r.Name(), Access: r.Access, GRPC: g.pass}
	return g
}

// bothWays describes every kind of method: to who does not know what a method is, all
// are streams in both directions.
var bothWays = &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}

// pass passes a call on and its answer back, whatever its kind.
func (g *grpcRoute) pass(_ any, client grpc.ServerStream) error {
	g.tally.begin()
	defer g.tally.end()
	who := callerOf(client.Context())
	end, err := g.clients.shares.begin(who)
	if err != nil {
		return g.tooMuch(err, who)
	}
	reset, err := g.send(client)
	end(reset)
	return err
}

// send passes a call on to the service that its method names. It tells whether the call
// was cancelled there.
func (g *grpcRoute) send(client grpc.ServerStream) (reset bool, err error) {
	method, _ := grpc.MethodFromServerStream(client)
	service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	ctx, cancel := context.WithCancel(outgoing(client.Context()))
	defer cancel()
	if err := g.clients.mayCarry(ctx); err != nil {
		return false, g.notSent(client.Context(), service, err)
	}
	to, err := g.clients.take(service)
	if err != nil {
		return false, g.unreachable(service, err)
	}
	defer to.drop()
	conn, release := to.pick()
	defer func() { release(reset) }()
	begun := time.Now()
	backend, err := g.open(ctx, cancel, conn, method, client)
	if errors.Is(err, errNoInstance) && to.isFull() {
		return false, g.full(service)
	}
	if err != nil {
		return false, g.notSent(client.Context(), service, err)
	}
	to.stay(unnamed)
	broken, err := g.exchange(client, backend, cancel)
	if client.Context().Err() != nil {
		return gaveUp(client.Context(), begun), err
	}
	if broken {
		return true, err
	}
	if brokenOff(err) {
		return false, g.brokeOff(service, err)
	}
	note(client.Context(), backend.Context())
	return false, err
}

// note has the access log say which instance answered.
func note(client, backend context.Context) {
	if by, ok := peer.FromContext(backend); ok {
		easyops.NoteInstance(client, by.Addr.String())
	}
}

// outgoing is the context of the call that goes on: with what came, but for what was
// claimed. The token that came is in the metadata already.
func outgoing(ctx context.Context) context.Context {
	in, _ := metadata.FromIncomingContext(ctx)
	var from caller
	if p, ok := peer.FromContext(ctx); ok {
		from.addr = p.Addr
		_, from.tls = p.AuthInfo.(credentials.TLSInfo)
	}
	return metadata.NewOutgoingContext(auth.WithoutUser(ctx), metadataFor(in, from))
}

var errNoInstance = errors.New("no instance could be connected to in time")

// open begins the call to the service. That waits for an instance no longer than the
// route says.
func (g *grpcRoute) open(ctx context.Context, cancel context.CancelFunc, conn *easyops.Conn, method string, client grpc.ServerStream) (grpc.ClientStream, error) {
	timer := time.AfterFunc(g.ConnectTimeout, cancel)
	stream, err := conn.NewStream(ctx, bothWays, method, g.options(client.Context())...)
	if !timer.Stop() && client.Context().Err() == nil {
		return nil, fmt.Errorf("%w: %s", errNoInstance, status.Convert(err).Message())
	}
	return stream, err
}

func (g *grpcRoute) options(ctx context.Context) []grpc.CallOption {
	opts := []grpc.CallOption{
		grpc.ForceCodecV2(g.clients.codec),
		grpc.MaxCallRecvMsgSize(g.MaxMessage),
		grpc.MaxCallSendMsgSize(g.MaxMessage),
	}
	if subtype := subtypeOf(ctx); subtype != "" {
		opts = append(opts, grpc.CallContentSubtype(subtype))
	}
	if name := compressionOf(ctx); name != "" {
		opts = append(opts, grpc.UseCompressor(name))
	}
	return opts
}

// subtypeOf returns what stands behind "application/grpc+" in the content type of a
// call.
func subtypeOf(ctx context.Context) string {
	for _, contentType := range metadata.ValueFromIncomingContext(ctx, "content-type") {
		if subtype, ok := strings.CutPrefix(contentType, "application/grpc+"); ok {
			return subtype
		}
	}
	return ""
}

// compressionOf returns how the messages of a call are compressed, "" for not at all.
// What is not known here grpc-go refuses.
func compressionOf(ctx context.Context) string {
	s, ok := grpc.ServerTransportStreamFromContext(ctx).(interface{ RecvCompress() string })
	if !ok || encoding.GetCompressor(s.RecvCompress()) == nil {
		return ""
	}
	return s.RecvCompress()
}

// unreachable is the answer to a call for which no instance could be had.
func (g *grpcRoute) unreachable(service string, err error) error {
	g.tally.fail(g.log, "calls refused: no instance can be had", err, "route", g.route.Name, "service", service)
	return status.Errorf(codes.Unavailable, "no instance of %s can be reached: try again later", service)
}

// full is the answer to a call that waited in vain for others to end.
func (g *grpcRoute) full(service string) error {
	err := fmt.Errorf("so many calls to %s are under way that its servers take no more", service)
	g.tally.fail(g.log, "calls refused: there are too many", err, "route", g.route.Name, "service", service)
	return status.Errorf(codes.ResourceExhausted, "too many calls to %s are under way: try again later", service)
}

// notSent is the answer to a call that was not sent. Of what is behind the edge the
// client learns nothing.
func (g *grpcRoute) notSent(ctx context.Context, service string, err error) error {
	switch code := status.Code(err); {
	case ctx.Err() != nil:
		return status.FromContextError(ctx.Err()).Err()
	case errors.Is(err, errNoInstance):
		return g.unreachable(service, g.clients.why(service, err))
	case code == codes.Unauthenticated: // a token must not go over the connection
		g.tally.fail(g.log, "calls refused: a token would leave the machine unencrypted", err, "route", g.route.Name, "service", service)
		return status.Errorf(codes.Unavailable, "%s cannot be reached over a connection that is good for a token", service)
	case code == codes.Unavailable || code == codes.DeadlineExceeded:
		return g.unreachable(service, err)
	default:
		return err
	}
}

// exchange passes messages in both directions until the service ends the call, or the
// call is broken off here.
func (g *grpcRoute) exchange(client grpc.ServerStream, backend grpc.ClientStream, cancel context.CancelFunc) (broken bool, _ error) {
	var up atomic.Pointer[error]
	go func() {
		if err := g.passUp(client, backend); err != nil {
			up.Store(&err)
			cancel()
		}
	}()
	err := passDown(client, backend)
	if cause := up.Load(); cause != nil {
		return true, *cause
	}
	return isTooLong(err), err
}

// isTooLong tells whether it was here that a message of an answer was too long. So
// grpc-go begins what it says itself.
func isTooLong(err error) bool {
	s := status.Convert(err)
	return s.Code() == codes.ResourceExhausted && strings.HasPrefix(s.Message(), "grpc: ")
}

// passUp passes the messages of the client on. It returns an error if the call cannot
// go on; that of the service ends it by itself.
func (g *grpcRoute) passUp(client grpc.ServerStream, backend grpc.ClientStream) error {
	var f frame
	defer f.drop()
	for {
		switch err := client.RecvMsg(&f); {
		case errors.Is(err, io.EOF):
			return backend.CloseSend()
		case err != nil:
			return err
		}
		// The bound of grpc-go is that of the bytes that it sends: compressed ones.
		if size := f.data.Len(); size > g.MaxMessage {
			return status.Errorf(codes.ResourceExhausted, "a message of %d bytes is longer than the %d that may pass", size, g.MaxMessage)
		}
		switch err := backend.SendMsg(&f); {
		case errors.Is(err, io.EOF): // passDown knows why
			return nil
		case err != nil:
			return err
		}
	}
}

// passDown passes the answer of the service back: headers as soon as they come,
// messages, trailers and the status.
func passDown(client grpc.ServerStream, backend grpc.ClientStream) error {
	header, err := backend.Header()
	if err == nil && header != nil {
		err = client.SendHeader(answered(header))
	}
	var f frame
	for err == nil {
		if err = backend.RecvMsg(&f); err == nil {
			err = client.SendMsg(&f)
		}
	}
	f.drop()
	client.SetTrailer(answered(backend.Trailer()))
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// answered returns the metadata of an answer without what gRPC makes anew.
func answered(md metadata.MD) metadata.MD {
	for name := range md {
		if hopByHop[name] {
			delete(md, name)
		}
	}
	return md
}

// ownTexts are the beginnings of what grpc-go says of a connection that breaks. It names
// addresses, which are nobody's business in front of the edge.
var ownTexts = []string{"error reading from server", "connection error", "the connection is draining", "transport is closing", "no instance of "}

// brokenOff tells whether an error is none that the service has answered with, but says
// only that the connection to it broke.
func brokenOff(err error) bool {
	st := status.Convert(err)
	return st.Code() == codes.Unavailable &&
		slices.ContainsFunc(ownTexts, func(text string) bool { return strings.Contains(st.Message(), text) })
}

// brokeOff is the answer to a call that was broken off.
func (g *grpcRoute) brokeOff(service string, err error) error {
	g.tally.fail(g.log, "calls broken off by the service", err, "route", g.route.Name, "service", service)
	return status.Errorf(codes.Unavailable, "%s broke the call off", service)
}
