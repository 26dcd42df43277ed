package routing

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"

	"github.com/go-easyops/easyops/runtime/registry"
)

// startRude starts an instance that does something to each call but answer it.
func startRude(t *testing.T, do func(net.Conn, *http2.Framer, uint32)) registry.Instance {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() { cancel(); l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(ctx, func() { c.Close() })
			wg.Go(func() { defer stop(); defer c.Close(); serveRude(c, do) })
		}
	})
	return registry.Instance{ID: "rude", Service: service, Addr: l.Addr().String(), Kinds: []registry.Kind{registry.KindGRPC}, Health: registry.Ready}
}

func serveRude(c net.Conn, do func(net.Conn, *http2.Framer, uint32)) {
	if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	f := http2.NewFramer(c, c)
	_ = f.WriteSettings()
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = f.WriteSettingsAck()
			}
		case *http2.PingFrame:
			_ = f.WritePing(true, frame.Data)
		case *http2.HeadersFrame:
			do(c, f, frame.StreamID)
		}
	}
}

// TestFailsWithoutAnswer: an instance that ends calls without an answer is ejected as
// well as one that answers with errors.
func TestFailsWithoutAnswer(t *testing.T) {
	reset := func(code http2.ErrCode) func(net.Conn, *http2.Framer, uint32) {
		return func(_ net.Conn, f *http2.Framer, id uint32) { _ = f.WriteRSTStream(id, code) }
	}
	for name, do := range map[string]func(net.Conn, *http2.Framer, uint32){
		"INTERNAL_ERROR":    reset(http2.ErrCodeInternal),
		"REFUSED_STREAM":    reset(http2.ErrCodeRefusedStream),
		"ENHANCE_YOUR_CALM": reset(http2.ErrCodeEnhanceYourCalm),
		"end of connection": func(c net.Conn, _ *http2.Framer, _ uint32) { c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, list := startServers(t, 2, time.Millisecond)
			c := dialTo(t, newMemory(append(list, startRude(t, do))...), 0)
			startTraffic(t, c, time.Minute)
			for end := time.Now().Add(10 * time.Second); c.Status().Ejections == 0; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("it is not ejected: %+v", c.Status().Instances)
				}
			}
			for _, i := range c.Status().Instances {
				if (i.Ejections > 0) != (i.ID == "rude") {
					t.Errorf("%s was ejected %d times", i.ID, i.Ejections)
				}
			}
		})
	}
}

// TestDeathIsOneFailure: however many calls end with an instance, it is one event.
func TestDeathIsOneFailure(t *testing.T) {
	servers, list := startServers(t, 2, 0)
	c := dialTo(t, newMemory(list...), 0)
	for _, s := range servers {
		want(t, c, s.id)
	}
	for _, s := range servers {
		s.does(ways["never answers"])
	}
	before := servers[0].calls.Load()
	ctx, cancel := context.WithCancel(t.Context())
	const calls = 40
	errs := make(chan error, calls)
	for range calls {
		go func() {
			_, err := who(ctx, c)
			errs <- err
		}()
	}
	for end := time.Now().Add(10 * time.Second); servers[0].calls.Load() < before+2*maxRun; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not enough calls are under way: the test is blind")
		}
	}
	servers[0].stop()
	wantStatus(t, <-errs, codes.Unavailable)
	for n := 1; n < calls; n++ {
		if n >= 2*maxRun {
			cancel()
		}
		<-errs
	}
	cancel()
	for _, i := range c.Status().Instances {
		if dead := i.ID == servers[0].id; i.Ejections != 0 || dead != (i.Failures == 1) {
			t.Errorf("%s: %d failures, %d ejections", i.ID, i.Failures, i.Ejections)
		}
	}
}

// TestLose: one after the other they count, together they do not.
func TestLose(t *testing.T) {
	now := time.Now()
	for name, tt := range map[string]struct {
		each time.Duration // from one end to the next
		want bool
	}{
		"one after the other": {20 * time.Millisecond, true},
		"at once":             {0, false},
		"nearly":              {time.Millisecond, false},
	} {
		w := &ward{roster: newRoster()}
		a, b := &member{}, &member{}
		w.connected([]*member{a, b}, now)
		for n := range maxRun {
			w.done(a, now.Add(time.Duration(n)*tt.each), result{outcome: broken, lost: true, counts: true, took: 10 * time.Millisecond})
		}
		if a.out.Load() != tt.want {
			t.Errorf("%s: ejected %v, want %v", name, a.out.Load(), tt.want)
		}
	}
}
