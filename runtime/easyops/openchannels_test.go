package easyops

import (
	"context"
	"log/slog"
	"testing"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"
)

// channelsOf returns the open ones to a service.
func channelsOf(service string) (all []*channel) {
	for _, ch := range conns() {
		if ch.service == service {
			all = append(all, ch)
		}
	}
	return all
}

// TestOpenChannels: each is shown once, until it is closed.
func TestOpenChannels(t *testing.T) {
	const service = "open.channels.v1.Service"
	dir := WithRegistry("local:" + t.TempDir())
	dial := func(opts ...DialOption) *Conn {
		t.Helper()
		c, err := Dial(service, append([]DialOption{WithFlags(nil), dir, WithLogger(slog.Default())}, opts...)...)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	own := DialGRPC(grpc.WithUserAgent("a"))
	open := []*Conn{dial(), dial(), dial(), dial(own), dial(own), dial(WithPersonal())}
	want := []int{4, 4, 4, 3, 2, 1, 0} // after so many were closed
	for i := range want {
		if got := channelsOf(service); len(got) != want[i] {
			t.Errorf("%d are open after %d were closed, want %d", len(got), i, want[i])
		}
		if i < len(open) {
			_ = open[i].Close()
		}
	}
	dialled.mu.Lock()
	for key := range dialled.shared {
		if key.service == service {
			t.Errorf("%+v is kept", key)
		}
	}
	dialled.mu.Unlock()
	if _, err := Dial(service, dir, WithFlags(nil), WithTLSFiles("", "", "/missing")); err == nil {
		t.Error("dialled")
	}
	if got := channelsOf(service); len(got) != 0 {
		t.Errorf("what could not be opened is open")
	}
}

// TestEndedStreamsAreForgotten: a Conn keeps what is open, however a stream ends.
func TestEndedStreamsAreForgotten(t *testing.T) {
	s, err := Start([]Service{(&funcs{}).service()}, WithFlags(nil), WithRegistry("none"), WithLogger(slog.New(slog.DiscardHandler)), WithDrainDelay(0))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown(context.Background())
	c, err := Dial(testServiceName, WithFlags(nil), DialTarget(s.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	client := testpb.NewTestServiceClient(c)
	left := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.streams)
	}
	if _, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{}); err != nil {
		t.Error(err)
	}
	if _, err := client.UnimplementedCall(t.Context(), &testpb.Empty{}); err == nil {
		t.Error("it is implemented")
	}
	if _, err := client.FullDuplexCall(ended()); err == nil {
		t.Error("a stream was begun after its end")
	}
	if n := left(); n != 0 {
		t.Errorf("%d ended streams are kept", n)
	}
	stream, err := client.FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := left(); n != 1 {
		t.Errorf("%d open calls, want the stream", n)
	}
	if _, err := stream.Recv(); err == nil {
		t.Error("the stream goes on")
	}
	if n := left(); n != 0 {
		t.Errorf("%d ended streams are kept", n)
	}
}
