// Package fastcodec tests messages that protoc-gen-go-vtproto has given methods.
package fastcodec

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/test/fastcodec/quick"
)

const service = "quick.v1.QuickService"

// sameAgain answers with what was asked.
func sameAgain[T any](_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	m := new(T)
	return m, decode(m)
}

type implementation struct{}

var desc = &grpc.ServiceDesc{
	ServiceName: service, HandlerType: (*any)(nil), Metadata: "quick.proto",
	Methods: []grpc.MethodDesc{{MethodName: "Quick", Handler: sameAgain[quick.Quick]}, {MethodName: "Tree", Handler: sameAgain[quick.Tree]}},
}

// start serves with the option and returns a client, with it or without.
func start(t *testing.T, opts ...easyops.DialOption) *easyops.Conn {
	t.Helper()
	bound := easyops.Bind(func(r grpc.ServiceRegistrar, i implementation) { r.RegisterService(desc, i) }, implementation{}, nil)
	s, err := easyops.Start([]easyops.Service{bound}, easyops.WithFlags(nil), easyops.WithRegistry("none"),
		easyops.WithFastCodec(), easyops.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Shutdown(context.Background()) })
	c, err := easyops.Dial(service, append(opts, easyops.WithFlags(nil), easyops.DialTarget("passthrough:///"+s.Addr().String()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Messages come back as they were sent, by clients with the option and without, in
// place of what was in the answer before.
func TestGeneratedMethods(t *testing.T) {
	for name, opts := range map[string][]easyops.DialOption{"fast": {easyops.WithFastCodec()}, "usual": nil} {
		c, half := start(t, opts...), 1.5
		for _, size := range []int{0, 10, 100, 2000, 1 << 20} {
			inner := &quick.Inner{Name: "n", Counts: map[string]int64{"a": 1}}
			for in, out := range map[proto.Message]proto.Message{
				&quick.Quick{
					Text: strings.Repeat("é", size), Numbers: []int32{1, -2, 3}, Blob: make([]byte, size), Inner: inner,
					One: &quick.Quick_B{B: inner}, List: []*quick.Inner{{}, inner}, D: &half,
				}: &quick.Quick{Text: "before", Numbers: []int32{4}},
				&quick.Tree{Name: "root", Children: []*quick.Tree{{Name: "leaf"}}}: &quick.Tree{Children: []*quick.Tree{{}}},
			} {
				method := "/" + service + "/" + string(in.ProtoReflect().Descriptor().Name())
				if err := c.Invoke(t.Context(), method, in, out); err != nil || !proto.Equal(in, out) {
					t.Errorf("%s, %d bytes: %v", name, size, err)
				}
			}
		}
	}
}

// What such methods do not check is passed on, as the option says: the usual ones
// refuse to.
func TestTextThatIsNotUTF8(t *testing.T) {
	for name, opts := range map[string][]easyops.DialOption{"fast": {easyops.WithFastCodec()}, "usual": nil} {
		err := start(t, opts...).Invoke(t.Context(), "/"+service+"/Quick", &quick.Quick{Text: "\xff"}, &quick.Quick{})
		if (err != nil) != (name == "usual") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
