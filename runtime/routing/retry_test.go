package routing

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/go-easyops/easyops/runtime/registry"
)

// TestRetry: a method that may be sent twice is sent to another instance, and no
// other one is.
func TestRetry(t *testing.T) {
	for name, tt := range map[string]struct {
		resendable []string
		want       int
	}{
		"idempotent": {[]string{"Am"}, attempts},
		"other":      {nil, 1},
		"another":    {[]string{"Stay"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			servers, list := startServers(t, 4, 0)
			c := dial(t, Config{Registry: newMemory(list...), Idempotent: tt.resendable})
			c.roster.allowed = func(int) int { return 0 }
			for _, s := range servers {
				want(t, c, s.id)
			}
			for _, s := range servers {
				s.does(ways["is UNAVAILABLE"])
			}
			before := make([]int64, len(servers))
			for range 8 {
				for n, s := range servers {
					before[n] = s.calls.Load()
				}
				_, err := who(t.Context(), c)
				wantStatus(t, err, codes.Unavailable, "no")
				tried := 0
				for n, s := range servers {
					calls := int(s.calls.Load() - before[n])
					if calls > 1 {
						t.Errorf("%s got the call %d times", s.id, calls)
					}
					tried += calls
				}
				if tried != tt.want {
					t.Errorf("the call was sent %d times, want %d", tried, tt.want)
				}
			}
		})
	}
}

// TestRetrySucceeds: no call fails because an instance does, or dies.
func TestRetrySucceeds(t *testing.T) {
	servers, list := startServers(t, 3, 2*time.Millisecond)
	c := dial(t, Config{Registry: newMemory(list...), Idempotent: []string{"Am"}})
	for _, s := range servers {
		want(t, c, s.id)
	}
	l := startLoad(t, c, 20)
	servers[0].does(ways["is UNAVAILABLE"])
	l.more(t, 200)
	servers[1].stop()
	l.more(t, 200)
	for _, err := range l.stop() {
		t.Error(err)
	}
}

// TestOnlyOneToRetry: where there is no other instance, the same one will do.
func TestOnlyOneToRetry(t *testing.T) {
	s := startServer(t, "a")
	c := dial(t, Config{Registry: newMemory(s.instance(registry.Ready)), Idempotent: []string{"Am"}})
	want(t, c, "a")
	var n atomic.Int32
	failOnce := func(context.Context) error {
		if n.Add(1) == 1 {
			return status.Error(codes.Unavailable, "busy")
		}
		return nil
	}
	s.does(failOnce)
	always(t.Context(), t, c, "a")
}

// TestRetryThrottle: while most calls fail they are not sent twice.
func TestRetryThrottle(t *testing.T) {
	servers, list := startServers(t, 2, 0)
	c := dial(t, Config{Registry: newMemory(list...), Idempotent: []string{"Am"}})
	want(t, c, "s0")
	for _, s := range servers {
		s.does(ways["is UNAVAILABLE"])
	}
	done := make(chan struct{})
	const callers, each = 100, 8
	for range callers {
		go func() {
			for range each {
				_, _ = who(t.Context(), c)
			}
			done <- struct{}{}
		}()
	}
	for range callers {
		<-done
	}
	sent := servers[0].calls.Load() + servers[1].calls.Load()
	if sent > callers*each+maxTokens {
		t.Errorf("%d calls were sent %d times", callers*each, sent)
	}
}

// linkLevels links a service into the test that has methods of all levels.
func linkLevels() error {
	levels := []descriptorpb.MethodOptions_IdempotencyLevel{
		descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN, descriptorpb.MethodOptions_NO_SIDE_EFFECTS, descriptorpb.MethodOptions_IDEMPOTENT,
	}
	s := &descriptorpb.ServiceDescriptorProto{Name: proto.String("Levels")}
	for n, level := range levels {
		s.Method = append(s.Method, &descriptorpb.MethodDescriptorProto{
			Name: proto.String(fmt.Sprint("M", n)), InputType: proto.String(".routing.test.E"), OutputType: proto.String(".routing.test.E"),
			Options: &descriptorpb.MethodOptions{IdempotencyLevel: level.Enum()},
		})
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("routing_test.proto"), Package: proto.String("routing.test"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("E")}}, Service: []*descriptorpb.ServiceDescriptorProto{s},
	}, nil)
	if err == nil {
		err = protoregistry.GlobalFiles.RegisterFile(file)
	}
	return err
}

// TestIdempotent reads descriptors of all kinds of services.
func TestIdempotent(t *testing.T) {
	if got := Idempotent("grpc.reflection.v1.ServerReflection"); got != nil {
		t.Errorf("reflection: %v", got)
	}
	for _, name := range []string{"nobody.Knows", "", "google.protobuf.FileDescriptorProto"} {
		if got := Idempotent(name); got != nil {
			t.Errorf("%q: %v", name, got)
		}
	}
	if got := Idempotent("routing.test.Levels"); !slices.Equal(got, []string{"M1", "M2"}) {
		t.Errorf("got %v", got)
	}
}
