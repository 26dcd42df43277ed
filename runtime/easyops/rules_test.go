package easyops

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	easyopsv1 "github.com/go-easyops/easyops/proto/easyops/v1"
)

// ruledService has methods with rules in its descriptor: Quick has a timeout of
// two seconds, QuickStream too, Free is for everyone, Plain says nothing.
const ruledService = "easyops.limits.test.Ruled"

var registerRuled = sync.OnceFunc(func() {
	method := func(name string, stream bool, rules *easyopsv1.MethodRules) *descriptorpb.MethodDescriptorProto {
		m := &descriptorpb.MethodDescriptorProto{
			Name: &name, InputType: proto.String(".google.protobuf.Empty"), OutputType: proto.String(".google.protobuf.Empty"),
			ServerStreaming: &stream, Options: &descriptorpb.MethodOptions{},
		}
		if rules != nil {
			proto.SetExtension(m.Options, easyopsv1.E_Method, rules)
		}
		return m
	}
	quick := &easyopsv1.MethodRules{Timeout: durationpb.New(2 * time.Second)}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("easyops/limits_test.proto"), Package: proto.String("easyops.limits.test"), Syntax: proto.String("proto3"),
		Dependency: []string{"google/protobuf/empty.proto"},
		Service: []*descriptorpb.ServiceDescriptorProto{{
			Name: proto.String("Ruled"),
			Method: []*descriptorpb.MethodDescriptorProto{
				method("Quick", false, quick), method("QuickStream", true, quick), method("Plain", false, nil),
				method("Free", false, &easyopsv1.MethodRules{Access: &easyopsv1.Access{Allow: easyopsv1.Allow_EVERYONE}}),
			},
		}},
	}, protoregistry.GlobalFiles)
	if err == nil {
		err = protoregistry.GlobalFiles.RegisterFile(file)
	}
	if err != nil {
		panic(err)
	}
})

// ruled binds a function to all methods of the ruled service.
func ruled(f func(ctx context.Context) error) Service {
	registerRuled()
	unary := func(name string) grpc.MethodDesc {
		return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			if err := decode(&emptypb.Empty{}); err != nil {
				return nil, err
			}
			return &emptypb.Empty{}, f(ctx)
		}}
	}
	desc := &grpc.ServiceDesc{
		ServiceName: ruledService,
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{unary("Quick"), unary("Plain"), unary("Free")},
		Streams: []grpc.StreamDesc{{StreamName: "QuickStream", ServerStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
			return f(s.Context())
		}}},
	}
	return Bind(func(r grpc.ServiceRegistrar, impl any) { r.RegisterService(desc, impl) }, any(struct{}{}), nil)
}

func newRuledRig(t *testing.T, w way, f func(context.Context) error, opts ...ServerOption) *rig {
	t.Helper()
	return newRigOf(t, w, []Service{ruled(f)}, opts...)
}

func TestMethodTimeout(t *testing.T) {
	const longer, shorter = 10 * time.Second, time.Second
	tests := []struct {
		name, method string
		client       time.Duration // 0: none
		want         time.Duration
	}{
		{"no deadline", "Quick", 0, 2 * time.Second},
		{"a longer one", "Quick", longer, 2 * time.Second},
		{"a shorter one", "Quick", shorter, shorter},
		{"stream without", "QuickStream", 0, 2 * time.Second},
		{"stream with a longer one", "QuickStream", longer, 2 * time.Second},
		{"stream with a shorter one", "QuickStream", shorter, shorter},
		{"a method without a timeout", "Plain", longer, longer},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, w way) {
				took := make(chan time.Duration, 1)
				r := newRuledRig(t, w, func(ctx context.Context) error {
					begun := time.Now()
					<-ctx.Done()
					took <- time.Since(begun)
					return ctx.Err()
				})
				ctx := t.Context()
				if test.client > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.client)
					defer cancel()
				}
				begun := time.Now()
				wantCode(t, r.callRuled(ctx, test.method), codes.DeadlineExceeded)
				wantWithin(t, "the call", begun, test.want-100*time.Millisecond, test.want+100*time.Millisecond)
				if d := receives(t, "the handler's end", took); d < test.want-100*time.Millisecond || d > test.want+100*time.Millisecond {
					t.Errorf("the handler's context ended after %v, want %v", d, test.want)
				}
			})
		})
	}
}

// callRuled calls a method of the ruled service.
func (r *rig) callRuled(ctx context.Context, method string) error {
	conn, full := r.dial(), "/"+ruledService+"/"+method
	if method != "QuickStream" {
		return conn.Invoke(ctx, full, &emptypb.Empty{}, &emptypb.Empty{})
	}
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, full)
	if err != nil {
		return err
	}
	if err := s.SendMsg(&emptypb.Empty{}); err != nil {
		return err
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	return s.RecvMsg(&emptypb.Empty{})
}

// The rules of the descriptor decide, also for a service that was not generated.
func TestRulesOfDescriptors(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRuledRig(t, w, func(context.Context) error { return nil }).exposed()
		for method, want := range map[string]codes.Code{
			"Free": codes.OK, "Plain": codes.Unauthenticated, "Quick": codes.Unauthenticated, "QuickStream": codes.Unauthenticated,
		} {
			if got := status.Code(r.callRuled(t.Context(), method)); got != want {
				t.Errorf("%s: %v, want %v", method, got, want)
			}
		}
	})
}

// The client has its answer in time also where the handler ignores its context.
func TestMethodTimeoutThatIsIgnored(t *testing.T) {
	for _, method := range []string{"Quick", "QuickStream"} {
		t.Run(method, func(t *testing.T) {
			eachWay(t, func(t *testing.T, w way) {
				release := make(chan struct{})
				defer close(release)
				r := newRuledRig(t, w, func(context.Context) error { <-release; return nil })
				begun := time.Now()
				err := r.callRuled(t.Context(), method)
				wantCode(t, err, codes.DeadlineExceeded)
				if msg := status.Convert(err).Message(); !strings.Contains(msg, "2s") {
					t.Errorf("message: %q", msg)
				}
				wantWithin(t, "the call", begun, 2*time.Second, 5*time.Second)
				time.Sleep(time.Minute)
				line := r.log.one(t, "handler ignores the end of its call")
				wantEqual(t, "method", line.text("method"), ruledService+"/"+method)
			})
		})
	}
}
