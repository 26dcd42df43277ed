package propagation

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
)

const (
	service = "echo.v1.EchoService"
	canary  = "canary-of-the-caller"
)

// hop is a service that passes its calls on, and notes who made them.
type hop struct {
	echov1.UnimplementedEchoServiceServer
	next   echov1.EchoServiceClient // nil at the end
	onward func(context.Context) context.Context

	caller   string // of the last call
	metadata metadata.MD
}

func (h *hop) note(ctx context.Context) context.Context {
	h.caller = auth.CallerFrom(ctx).String()
	h.metadata, _ = metadata.FromIncomingContext(ctx)
	if h.onward != nil {
		return h.onward(ctx)
	}
	return ctx
}

func (h *hop) Echo(ctx context.Context, req *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	ctx = h.note(ctx)
	if h.next == nil {
		return &echov1.EchoResponse{Message: req.GetMessage()}, nil
	}
	return h.next.Echo(ctx, req)
}

func (h *hop) Repeat(req *echov1.RepeatRequest, out grpc.ServerStreamingServer[echov1.RepeatResponse]) error {
	ctx := h.note(out.Context())
	if h.next == nil {
		return nil
	}
	in, err := h.next.Repeat(ctx, req)
	if err != nil {
		return err
	}
	if _, err = in.Recv(); errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// chain is a client and three hops, each in a registry of its own.
type chain struct {
	client echov1.EchoServiceClient
	hops   [3]*hop
	addrs  [3]string
}

// identity is how a hop proves which service it is, as a caller and as a server.
type identity func(hop string) []easyops.Option

// newChain starts it. Last says how the last hop is dialled, whose address it
// gets; nil is by its registry.
func newChain(t *testing.T, as identity, specs []string, last func(addr string) []easyops.DialOption) *chain {
	t.Helper()
	c := &chain{}
	for i := range c.hops {
		c.hops[i] = &hop{}
	}
	var next easyops.DialOption
	for i := 2; i >= 0; i-- {
		own := apart(t, as(string("abc"[i]))...)
		if i < 2 {
			dial := []easyops.DialOption{own, next}
			if i == 1 && last != nil {
				dial = append(dial, last(c.addrs[2])...)
			}
			c.hops[i].next = dialEcho(t, dial...)
		}
		where := easyops.WithRegistry("local:" + shortDir(t))
		s, err := echov1.StartEchoServiceServer(c.hops[i], own, where, easyops.WithAuth(specs...),
			easyops.WithAddr("127.0.0.1:0"), easyops.WithDrainDelay(0))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
		next, c.addrs[i] = where, s.Addr().String()
	}
	c.client = dialEcho(t, apart(t, as("edge")...), next)
	return c
}

func apart(t *testing.T, opts ...easyops.Option) easyops.Option {
	return easyops.WithOptions(append([]easyops.Option{easyops.WithFlags(nil), easyops.WithLogger(logger(t))}, opts...)...)
}

func dialEcho(t *testing.T, opts ...easyops.DialOption) echov1.EchoServiceClient {
	t.Helper()
	client, conn, err := echov1.DialEchoService(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return client
}

func logger(t *testing.T) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

// shortDir is for sockets, whose names must be short.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "p-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// call makes a call of each kind in the name of a user.
func (c *chain) call(t *testing.T, user string) (errs [2]error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(auth.WithUserToken(ctx, user),
		"x-canary", canary, "cookie", canary, "x-forwarded-for", canary, "traceparent", canary, "canary-bin", canary)
	_, errs[0] = c.client.Echo(ctx, &echov1.EchoRequest{Message: "hi"})
	stream, err := c.client.Repeat(ctx, &echov1.RepeatRequest{})
	if err == nil {
		if _, err = stream.Recv(); errors.Is(err, io.EOF) {
			err = nil
		}
	}
	errs[1] = err
	return errs
}

func (c *chain) callers() (all []string) {
	for _, h := range c.hops {
		all = append(all, h.caller)
	}
	return all
}

// carries tells whether a hop got what the client sent along.
func (h *hop) carries(text string) bool {
	for k, values := range h.metadata {
		if strings.Contains(k, "canary") || slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, text) }) {
			return true
		}
	}
	return false
}

// identities are the ways in which services prove who they are.
func identities(t *testing.T, services *issuer) map[string]identity {
	ca := newAuthority(t)
	return map[string]identity{
		"certificates": func(hop string) []easyops.Option {
			cert, key := ca.issue(t, hop, service, "localhost")
			return []easyops.Option{easyops.WithTLSFiles(cert, key, ca.file)}
		},
		"tokens on loopback": func(hop string) []easyops.Option {
			return []easyops.Option{easyops.WithServiceToken(services.tokenFile(t, hop))}
		},
	}
}

// as names the callers of each hop, where certificates and tokens name services
// differently.
func as(kind, user string, services ...string) (all []string) {
	for _, s := range services {
		if kind == "certificates" {
			s = "spiffe://" + trustDomain + "/" + s
		}
		caller := "service " + s
		if user != "" {
			caller = "user " + user + " by " + caller
		}
		all = append(all, caller)
	}
	return all
}

// TestThirdHop: the user arrives, and of services the last that called; nothing
// else of what came in goes out.
func TestThirdHop(t *testing.T) {
	users, services := newIssuer(t, "user"), newIssuer(t, "service")
	for kind, identity := range identities(t, services) {
		t.Run(kind, func(t *testing.T) {
			alice := users.token(t, "alice")
			c := newChain(t, identity, specs(kind, users, services), nil)
			for i, err := range c.call(t, alice) {
				if err != nil {
					t.Fatalf("call %d: %v", i, err)
				}
				want := as(kind, "alice", "edge", "a", "b")
				if got := c.callers(); !slices.Equal(got, want) {
					t.Errorf("called by %q, want %q", got, want)
				}
			}
			if !c.hops[0].carries(canary) {
				t.Error("the first hop did not get what the client sent along")
			}
			for i, h := range c.hops[1:] {
				if h.carries(canary) {
					t.Errorf("hop %d got %v", i+2, h.metadata)
				}
			}
		})
	}
}

func specs(kind string, users, services *issuer) []string {
	if kind == "certificates" {
		return []string{"mtls", users.spec()}
	}
	return []string{users.spec(), services.spec()}
}

// TestWithoutUser: what goes on in the service's own name carries no user from
// there on.
func TestWithoutUser(t *testing.T) {
	users, services := newIssuer(t, "user"), newIssuer(t, "service")
	for kind, identity := range identities(t, services) {
		t.Run(kind, func(t *testing.T) {
			c := newChain(t, identity, specs(kind, users, services), nil)
			c.hops[0].onward = auth.WithoutUser
			for i, err := range c.call(t, users.token(t, "alice")) {
				if err != nil {
					t.Fatalf("call %d: %v", i, err)
				}
			}
			want := slices.Concat(as(kind, "alice", "edge"), as(kind, "", "a", "b"))
			if got := c.callers(); !slices.Equal(got, want) {
				t.Errorf("called by %q, want %q", got, want)
			}
		})
	}
}

// TestTarget: a server that the program names itself learns of the user only if
// the program says so.
func TestTarget(t *testing.T) {
	users, services := newIssuer(t, "user"), newIssuer(t, "service")
	for kind, identity := range identities(t, services) {
		for _, forward := range []bool{false, true} {
			name, user := kind+", not forwarded", ""
			if forward {
				name, user = kind+", forwarded", "alice"
			}
			target := func(addr string) []easyops.DialOption {
				_, port, _ := net.SplitHostPort(addr)
				opts := []easyops.DialOption{easyops.DialTarget("dns:///localhost:" + port)}
				if forward {
					opts = append(opts, easyops.DialForwardUser())
				}
				return opts
			}
			t.Run(name, func(t *testing.T) {
				alice := users.token(t, "alice")
				c := newChain(t, identity, specs(kind, users, services), target)
				for i, err := range c.call(t, alice) {
					if err != nil {
						t.Fatalf("call %d: %v", i, err)
					}
				}
				want := slices.Concat(as(kind, "alice", "edge", "a"), as(kind, user, "b"))
				if got := c.callers(); !slices.Equal(got, want) {
					t.Errorf("called by %q, want %q", got, want)
				}
				if c.hops[2].carries(alice) != forward {
					t.Errorf("the user's token is at the target: %v", !forward)
				}
			})
		}
	}
}

// TestForgedAtTheEdge: who is refused at the first hop reaches no other.
func TestForgedAtTheEdge(t *testing.T) {
	users, services := newIssuer(t, "user"), newIssuer(t, "service")
	other := newIssuer(t, "user")
	for kind, identity := range identities(t, services) {
		t.Run(kind, func(t *testing.T) {
			c := newChain(t, identity, specs(kind, users, services), nil)
			for i, err := range c.call(t, other.token(t, "alice")) {
				if status.Code(err) != codes.Unauthenticated {
					t.Errorf("call %d: %v", i, err)
				}
			}
			if got := c.callers(); !slices.Equal(got, []string{"", "", ""}) {
				t.Errorf("called by %q", got)
			}
		})
	}
}
