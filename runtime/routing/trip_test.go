package routing

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/registry"
)

func TestOutcome(t *testing.T) {
	for _, tt := range []struct {
		code     codes.Code
		received bool
		unary    outcome
		stream   outcome
	}{
		{codes.OK, true, fine, fine},
		{codes.OK, false, unknown, unknown}, // the connection was gone
		{codes.NotFound, true, fine, fine},
		{codes.PermissionDenied, true, fine, fine},
		{codes.Canceled, true, unknown, unknown},
		{codes.Canceled, false, unknown, unknown},
		{codes.DeadlineExceeded, false, late, late},
		{codes.DeadlineExceeded, true, late, fine},
		{codes.Unavailable, true, broken, broken},
		{codes.Unavailable, false, broken, broken},
		{codes.ResourceExhausted, true, faulty, faulty},  // the answer may be too large
		{codes.ResourceExhausted, false, faulty, faulty}, // or the request
		{codes.Internal, true, faulty, faulty},
		{codes.Internal, false, faulty, faulty}, // or it cannot be marshalled
		{codes.Unknown, true, faulty, faulty},
		{codes.Unknown, false, faulty, faulty},
		{codes.PermissionDenied, false, unknown, unknown},
		{codes.DataLoss, true, faulty, faulty},
	} {
		info := balancer.DoneInfo{Err: status.Error(tt.code, "x"), BytesSent: true, BytesReceived: tt.received}
		if got := outcomeOf(info, false); got != tt.unary {
			t.Errorf("%v, received %v: %d, want %d", tt.code, tt.received, got, tt.unary)
		}
		if got := outcomeOf(info, true); got != tt.stream {
			t.Errorf("stream, %v, received %v: %d, want %d", tt.code, tt.received, got, tt.stream)
		}
		if info.BytesSent = false; !tt.received && outcomeOf(info, false) != unknown {
			t.Errorf("%v, not sent: it counts", tt.code)
		}
	}
	info := balancer.DoneInfo{
		Err: status.Error(codes.ResourceExhausted, "x"), BytesSent: true, BytesReceived: true,
		Trailer: metadata.Pairs("content-type", "application/grpc"),
	}
	if got := outcomeOf(info, false); got != broken {
		t.Errorf("RESOURCE_EXHAUSTED of the server: %d, want %d", got, broken)
	}
}

// A deadline that no instance could have met is no failure of the instance.
func TestShortDeadline(t *testing.T) {
	p := newPool(2)
	quick := p.ready[1].member
	quick.load.latency.Store(int64(100 * time.Millisecond))
	info := balancer.DoneInfo{Err: status.Error(codes.DeadlineExceeded, "x"), BytesSent: true}
	for took, want := range map[time.Duration]outcome{10 * time.Millisecond: unknown, 150 * time.Millisecond: late} {
		trip := &trip{member: p.ready[0].member, ward: p.ward}
		if got := trip.result(info, took).outcome; got != want {
			t.Errorf("after %v: %d, want %d", took, got, want)
		}
	}
}

// How long a stream lasts says nothing about its instance, how it ends does.
func TestStreamsHaveNoLatency(t *testing.T) {
	s := startServer(t, "a")
	c := dialTo(t, newMemory(s.instance(registry.Ready)), 0)
	for range 2 * fewest {
		want(t, c, "a")
	}
	before := c.Status().Instances[0]
	stream, err := c.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/"+service+"/Stay")
	if err != nil {
		t.Fatal(err)
	}
	echo(t, stream)
	time.Sleep(100 * time.Millisecond)
	s.stop()
	if err := stream.RecvMsg(nil); err == nil {
		t.Error("the stream goes on")
	}
	for end := time.Now().Add(10 * time.Second); c.Status().Instances[0].InFlight > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the stream is still under way")
		}
	}
	if after := c.Status().Instances[0]; after.Latency != before.Latency || after.Calls != before.Calls+1 || after.Failures != 1 {
		t.Errorf("it was %+v, and is %+v", before, after)
	}
}

// Every call that was counted in is counted out, however it ends.
func TestInFlightEnds(t *testing.T) {
	servers, list := startServers(t, 2, time.Millisecond)
	c := dialTo(t, newMemory(list...), time.Second)
	for _, s := range servers {
		want(t, c, s.id)
	}
	f := startTraffic(t, c, 2*time.Millisecond)
	time.Sleep(100 * time.Millisecond)
	servers[0].grpc.GracefulStop()
	time.Sleep(50 * time.Millisecond)
	servers[1].stop()
	f.stop()
	var errs []error
	for _, i := range c.Status().Instances {
		if i.InFlight != 0 {
			errs = append(errs, errors.New(i.ID))
		}
	}
	if len(errs) > 0 {
		t.Errorf("calls are under way at %v", errs)
	}
}

// TestErrorsOfTheClient: what the client cannot take is no failure of instances, and
// the same status is where they send it.
func TestErrorsOfTheClient(t *testing.T) {
	for name, tt := range map[string]struct {
		does func(context.Context) error
		want uint64
	}{
		"answers too large": {nil, 0},
		"refuses":           {func(context.Context) error { return status.Error(codes.ResourceExhausted, "busy") }, 1},
	} {
		servers, list := startServers(t, 2, 0)
		c := dialTo(t, newMemory(list...), 0)
		for _, s := range servers {
			want(t, c, s.id)
		}
		for _, s := range servers {
			s.does(tt.does)
		}
		for range 4 * maxRun {
			_, err := who(t.Context(), c, grpc.MaxCallRecvMsgSize(1))
			wantStatus(t, err, codes.ResourceExhausted)
		}
		if got := c.Status().Ejections; got != tt.want {
			t.Errorf("%s: %d ejections, want %d", name, got, tt.want)
		}
	}
}
