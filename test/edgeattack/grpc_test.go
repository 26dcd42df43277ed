package edgeattack

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/registry"
)

// calls are what reaches a gRPC backend, which has every method there is.
type calls struct {
	mu  sync.Mutex
	all []call
}

type call struct {
	method string
	md     metadata.MD
}

// startCalls runs such a backend for some services.
func startCalls(t *testing.T, b *behind, services ...string) *calls {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &calls{}
	s := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(stream)
		md, _ := metadata.FromIncomingContext(stream.Context())
		c.mu.Lock()
		c.all = append(c.all, call{method, md})
		c.mu.Unlock()
		var req echov1.EchoRequest
		if err := stream.RecvMsg(&req); err != nil {
			return err
		}
		return stream.SendMsg(&echov1.EchoResponse{Message: req.GetMessage()})
	}))
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	for _, name := range services {
		b.list(t, name, registry.KindGRPC, l.Addr().String())
	}
	return c
}

func (c *calls) take() []call {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.all
	c.all = nil
	return all
}

// grpcRoutes let everyone call anything, except for one service.
const grpcRoutes = `
grpc:
  - {service: "*", allow: EVERYONE}
  - {service: closed.v1.Service}
`

const open, closed = "/echo.v1.EchoService/Echo", "/closed.v1.Service/Call"

// callPath is a gRPC call over raw frames, with more headers behind the usual ones.
func (f *front) callPath(t *testing.T, path string, more ...string) string {
	t.Helper()
	kv := append(pseudo("POST", path, f.host()), "content-type", "application/grpc", "te", "trailers")
	kv[3] = f.scheme()
	return f.h2Frames(t, func(fr *http2.Framer) {
		writeBlock(fr, false, block(append(kv, more...)...))
		_ = fr.WriteData(1, true, []byte("\x00\x00\x00\x00\x04\x0a\x02hi"))
	})
}

// TestForgedMetadata sends what only a proxy may say of a caller. None reaches the
// backend.
func TestForgedMetadata(t *testing.T) {
	t.Parallel()
	keys, token := newKeys(t)
	b := newBehind(t)
	c := startCalls(t, b, "echo.v1.EchoService", "closed.v1.Service")
	f, _ := startEdge(t, b, grpcRoutes, false, keys)
	for _, name := range forged {
		name = strings.ToLower(name)
		for _, header := range []string{name, strings.ReplaceAll(name, "-", "_"), name + "-bin"} {
			answer := f.callPath(t, open, header, canary, header, canary)
			for _, call := range c.take() {
				if values := call.md.Get(header); len(values) > 0 && slices.Contains(values, canary) && header != name+"-bin" {
					t.Errorf("%s: answer %s, and the backend heard %q", header, answer, call.md)
				}
			}
		}
	}
	if answer := f.callPath(t, open, "x-harmless", canary); len(c.take()) != 1 {
		t.Errorf("a call without any of it does not reach the backend: %s", answer)
	}
	if answer := f.callPath(t, closed, "authorization", "Bearer "+token); answer != "200 grpc-status 0" {
		t.Errorf("a call with a good token: %s", answer)
	}
	for _, call := range c.take() {
		if got := call.md.Get("authorization"); !slices.Equal(got, []string{"Bearer " + token}) {
			t.Errorf("the backend heard %q", got)
		}
	}
	tampered := token[:len(token)-8] + strings.Repeat("A", 8)
	for name, headers := range map[string][]string{
		"nothing":                      nil,
		"a token of nobody's":          {"authorization", "Bearer " + tampered},
		"two tokens":                   {"authorization", "Bearer " + token, "authorization", "Bearer " + tampered},
		"two tokens, a good one last":  {"authorization", "Bearer " + tampered, "authorization", "Bearer " + token},
		"as that of a service":         {"easyops-service-authorization", "Bearer " + token},
		"forged":                       {"easyops-user", "alice", "x-forwarded-user", "alice", "x-remote-user", "alice"},
		"a method of another spelling": {"x-a", "b"},
	} {
		path := closed
		if strings.Contains(name, "spelling") {
			path = "/closed.v1.Service/./Call"
		}
		if answer := f.callPath(t, path, headers...); strings.Contains(answer, "grpc-status 0") {
			t.Errorf("%s: %s", name, answer)
		}
		if all := c.take(); len(all) > 0 {
			t.Errorf("%s: %v reached the backend", name, all)
		}
	}
}

// TestReservedMethods calls the pages in all spellings, as gRPC.
func TestReservedMethods(t *testing.T) {
	t.Parallel()
	keys, _ := newKeys(t)
	b := newBehind(t)
	c := startCalls(t, b, "internal", "metrics", "INTERNAL", "Internal", "a", "livez", "echo.v1.EchoService")
	f, _ := startEdge(t, b, grpcRoutes, false, keys)
	answers := map[string]int{}
	for i, s := range spellings() {
		if !full && i%4 != 0 {
			continue
		}
		answers[f.callPath(t, strings.ReplaceAll(s.target, "{host}", f.host()))]++
		for _, call := range c.take() {
			if reading := isReserved(call.method); reading != "" {
				t.Errorf("%s: %q reached the backend", s.name, call.method)
			}
		}
		if raw, _, _ := f.back.take(); raw != "" {
			t.Errorf("%s: the backend for HTTP was sent %q", s.name, raw)
		}
	}
	t.Logf("answers: %v", answers)
	if answer := f.callPath(t, open); len(c.take()) != 1 {
		t.Errorf("a proper call: %s", answer)
	}
}

// TestMetadataControl shows that the backend would see what is forged.
func TestMetadataControl(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	c := startCalls(t, b, "echo.v1.EchoService")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var addr string
	b.reg.Watch(ctx, "echo.v1.EchoService", func(list []registry.Instance, err error) {
		if err == nil && len(list) > 0 {
			addr = list[0].Addr
			cancel()
		}
	})
	f := &front{addr: addr}
	answer := f.callPath(t, open, "x-forwarded-user", canary)
	all := c.take()
	if len(all) != 1 || !slices.Equal(all[0].md.Get("x-forwarded-user"), []string{canary}) {
		t.Errorf("answer %s, and the backend heard %v", answer, all)
	}
}
