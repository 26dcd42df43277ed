package edge

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/peer"

	"github.com/go-easyops/easyops/runtime/auth"
)

// A caller has so many calls and cancellations, and others have theirs.
func TestShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := shares{all: map[string]*share{}}
		begin := func(who string, want error) func(bool) {
			t.Helper()
			end, err := s.begin(who)
			if !errors.Is(err, want) {
				t.Fatalf("%s: %v, want %v", who, err, want)
			}
			return end
		}
		var ends []func(bool)
		for range maxCalls {
			ends = append(ends, begin("alice", nil))
		}
		begin("alice", errTooManyCalls)
		begin("bob", nil)(false)
		ends[0](false)
		ends[0] = begin("alice", nil)
		for _, end := range ends {
			end(true)
		}
		begin("alice", errTooManyResets)
		begin("bob", nil)(false)
		time.Sleep(resetWindow + 1)
		begin("alice", nil)(false)
		if len(s.all) != 1 {
			t.Errorf("%d callers are known", len(s.all))
		}
	})
}

func TestGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			name            string
			deadline, lasts time.Duration // 0: none
			cancel          bool
			want            bool
		}{
			{"goes on", 0, time.Second, false, false},
			{"cancelled", 0, time.Second, true, true},
			{"cancelled at once", 0, 0, true, true},
			{"cancelled long before its deadline", time.Minute, time.Second, true, true},
			{"its deadline has passed", time.Second, time.Second, false, false},
			{"its client saw the deadline first", time.Second, time.Second - time.Millisecond, true, false},
			{"it was given no time", time.Millisecond, time.Millisecond, false, true},
		} {
			ctx, cancel := context.WithCancel(context.Background())
			if c.deadline > 0 {
				ctx, cancel = context.WithTimeout(context.Background(), c.deadline)
			}
			begun := time.Now()
			time.Sleep(c.lasts)
			synctest.Wait()
			if c.cancel {
				cancel()
			}
			if got := gaveUp(ctx, begun); got != c.want {
				t.Errorf("%s: %v", c.name, got)
			}
			cancel()
		}
	})
}

func TestCallerOf(t *testing.T) {
	at := func(addr string) context.Context {
		a, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		return peer.NewContext(t.Context(), &peer.Peer{Addr: a})
	}
	as := func(id auth.Identity) context.Context {
		return context.WithValue(at("192.0.2.1:1"), auth.ContextKey{}, &auth.Caller{Identity: id})
	}
	alice, billing := &auth.Principal{ID: "alice"}, &auth.Principal{ID: "billing"}
	for _, c := range []struct {
		a, b context.Context
		same bool
	}{
		{at("192.0.2.1:1"), at("192.0.2.1:2"), true},
		{at("192.0.2.1:1"), at("192.0.2.2:1"), false},
		{at("192.0.2.1:1"), at("[::ffff:192.0.2.1]:1"), true},
		{at("[2001:db8::1]:1"), at("[2001:db8::2]:1"), true},
		{at("[2001:db8::1]:1"), at("[2001:db8:0:1::1]:1"), false},
		{as(auth.Identity{User: alice}), as(auth.Identity{User: alice, Service: billing}), true},
		{as(auth.Identity{User: alice}), as(auth.Identity{User: &auth.Principal{ID: "alice", Issuer: "other"}}), false},
		{as(auth.Identity{User: alice}), as(auth.Identity{Service: &auth.Principal{ID: "alice"}}), false},
		{as(auth.Identity{}), at("192.0.2.1:1"), true},
		{t.Context(), t.Context(), true},
	} {
		if a, b := callerOf(c.a), callerOf(c.b); (a == b) != c.same {
			t.Errorf("%s and %s", a, b)
		}
	}
}
