package routing

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/resolver"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/go-easyops/easyops/runtime/registry"
)

// TestRenew: calls go over new connections, those that are open go on over the
// old ones, and none fails.
func TestRenew(t *testing.T) {
	for name, config := range map[string]func(*server) Config{
		"registry": func(s *server) Config { return Config{Registry: newMemory(s.instance(registry.Ready))} },
		"target":   func(s *server) Config { return Config{Target: s.addr} },
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, config(startServer(t, "a")))
			first := over(t, c)
			if again := over(t, c); again != first {
				t.Fatal("each call has a connection of its own")
			}
			stay, err := c.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/"+service+"/Stay")
			if err != nil {
				t.Fatal(err)
			}
			echo(t, stay)
			calls := startLoad(t, c, 5)
			seen := map[string]bool{first: true}
			for range 3 {
				c.Renew()
				renewed := over(t, c)
				for deadline := time.Now().Add(10 * time.Second); seen[renewed]; renewed = over(t, c) {
					if time.Now().After(deadline) {
						t.Fatal("calls still go over the old connection")
					}
				}
				seen[renewed] = true
				echo(t, stay)
			}
			for _, err := range calls.stop() {
				t.Error(err)
			}
		})
	}
}

// TestRenewBeforeTheFirstCall: it is no call, so it connects to nothing.
func TestRenewBeforeTheFirstCall(t *testing.T) {
	s := startServer(t, "a")
	c := dial(t, Config{Target: s.addr})
	c.Renew()
	over(t, c)
}

// over calls and returns our end of the connection that the call went over.
func over(t *testing.T, c *Conn) string {
	t.Helper()
	var p peer.Peer
	if _, err := who(t.Context(), c, grpc.Peer(&p)); err != nil {
		t.Fatal(err)
	}
	return p.LocalAddr.String()
}

// echo uses a stream.
func echo(t *testing.T, stream grpc.ClientStream) {
	t.Helper()
	if err := stream.SendMsg(&emptypb.Empty{}); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(&wrapperspb.StringValue{}); err != nil {
		t.Fatal(err)
	}
}

// takes notes what a marker hands on.
type takes struct {
	resolver.ClientConn
	states []resolver.State
}

func (c *takes) UpdateState(s resolver.State) error {
	c.states = append(c.states, s)
	return errors.ErrUnsupported
}

// TestMarker: an error in between does not make it forget the addresses, and
// what it was given stays as it is.
func TestMarker(t *testing.T) {
	found := resolver.State{
		Addresses: []resolver.Address{{Addr: "a"}},
		Endpoints: []resolver.Endpoint{{Addresses: []resolver.Address{{Addr: "b"}}}},
	}
	m, cc := &marker{}, &takes{}
	m.renew()
	_ = m.update(cc, found)
	_ = m.update(cc, annotated("the name server is away"))
	m.renew()
	if len(cc.states) != 3 || len(cc.states[1].Endpoints) != 0 {
		t.Fatalf("handed on %+v", cc.states)
	}
	mark := func(a resolver.Address) any { return a.Attributes.Value(markKey{}) }
	for i, want := range map[int]int{0: 1, 2: 2} {
		s := cc.states[i]
		if mark(s.Addresses[0]) != want || mark(s.Endpoints[0].Addresses[0]) != want {
			t.Errorf("state %d is marked %v and %v, want %d", i, mark(s.Addresses[0]), mark(s.Endpoints[0].Addresses[0]), want)
		}
	}
	if found.Addresses[0].Attributes != nil || found.Endpoints[0].Addresses[0].Attributes != nil {
		t.Error("what was found was changed")
	}
}
