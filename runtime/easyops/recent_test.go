package easyops

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/status"
)

// failedCall is a call of alice's by way of a service.
func failedCall(s *Server) *call {
	c := &call{Context: context.Background(), method: &method{server: s, name: "a/B"}, flight: &flight{begun: s.uptime()}}
	c.caller.User, c.caller.Service = &auth.Principal{ID: "alice"}, &auth.Principal{ID: "greeter"}
	return c
}

func TestRecentErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{started: time.Now()}
		s.recent.add(failedCall(s), codes.OK, nil)
		s.recent.add(failedCall(s), codes.Internal, fmt.Errorf("disk: %w", errors.New("full")))
		time.Sleep(time.Second)
		s.recent.add(failedCall(s), codes.NotFound, grpcstatus.Error(codes.NotFound, "no user \x1b7"))
		all := s.recent.all()
		want := []status.RecentError{
			{Time: time.Now().UTC(), Count: 1, Method: "a/B", Code: "NOT_FOUND", User: "alice", Service: "greeter", Peer: "unknown", Error: "no user ?7"},
			{Time: time.Now().UTC().Add(-time.Second), Count: 1, Fault: true, Method: "a/B", Code: "INTERNAL", User: "alice", Service: "greeter", Peer: "unknown", Error: "disk: full"},
		}
		for i := range all {
			if !all[i].Time.Equal(want[i].Time) {
				t.Errorf("%v, want %v", all[i].Time, want[i].Time)
			}
			all[i].Time = want[i].Time
		}
		if !slices.Equal(all, want) {
			t.Errorf("%+v, want %+v", all, want)
		}
	})
}

// TestFloodOfErrorsHidesNoFault shows that a flood costs little, is bounded, and
// leaves the server's own faults to be seen.
func TestFloodOfErrorsHidesNoFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{started: time.Now()}
		s.recent.add(failedCall(s), codes.Internal, errors.New("the disk"))
		described := 0
		for range 3 {
			for range 1000 {
				s.recent.add(failedCall(s), codes.NotFound, &counted{&described, true})
			}
			time.Sleep(time.Second)
		}
		if described != 3*linesPerSecond {
			t.Errorf("%d of the flood were described", described)
		}
		all := s.recent.all()
		if len(all) != recentKept+1 || all[len(all)-1].Error != "the disk" {
			t.Errorf("%d are kept, the last %+v", len(all), all[len(all)-1])
		}
	})
}

// counted is an error that counts how often it is asked for its text, which may
// be another each time.
type counted struct {
	n      *int
	varied bool
}

func (c *counted) Error() string {
	*c.n++
	if c.varied {
		return fmt.Sprint("flood ", *c.n)
	}
	return "flood"
}

// TestErrorsThatSayTheSameAreOne: they take one place, with how many they were and
// who called last, and leave the others theirs.
func TestErrorsThatSayTheSameAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{started: time.Now()}
		s.recent.add(failedCall(s), codes.NotFound, errors.New("no such user"))
		described := 0
		for range 3 {
			for range 20 {
				s.recent.add(failedCall(s), codes.NotFound, &counted{&described, false})
			}
			time.Sleep(time.Second)
		}
		last := failedCall(s)
		last.caller.User.ID = "bob"
		s.recent.add(last, codes.NotFound, &counted{&described, false})
		s.recent.add(failedCall(s), codes.InvalidArgument, &counted{&described, false})
		var got []string
		for _, e := range s.recent.all() {
			got = append(got, fmt.Sprint(e.Count, " ", e.Code, " ", e.Error, " ", e.User, " ", time.Since(e.Time)))
		}
		want := []string{"1 INVALID_ARGUMENT flood alice 0s", "61 NOT_FOUND flood bob 0s", "1 NOT_FOUND no such user alice 3s"}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// TestFloodOfClientsHidesNoFault: what counts as a fault is kept from the noise of
// clients, by its own budget too.
func TestFloodOfClientsHidesNoFault(t *testing.T) {
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		s := &Server{started: time.Now()}
		s.unknown = &method{server: s, name: "unknown method"}
		described := 0
		for range 1000 {
			s.recent.add(failedCall(s), codes.NotFound, &counted{&described, true})
			c := failedCall(s)
			c.method = s.unknown
			s.recent.add(c, codes.Unimplemented, &counted{&described, true})
		}
		s.recent.add(failedCall(s), code, errors.New("the disk"))
		kept := slices.ContainsFunc(s.recent.all(), func(e status.RecentError) bool { return e.Error == "the disk" && e.Fault })
		if want := isFault(code, true); kept != want {
			t.Errorf("%v: kept as a fault: %v, want %v", code, kept, want)
		}
	}
}

func TestNamesOfCodes(t *testing.T) {
	for code := codes.OK; code <= codes.Unauthenticated; code++ {
		var back codes.Code
		name := codeName(code)
		if err := back.UnmarshalJSON([]byte(`"` + name + `"`)); err != nil || back != code || strings.ToUpper(name) != name {
			t.Errorf("%v is called %s, %v", code, name, err)
		}
	}
}

// TestAccessLogKeepsRoomForFaults: what the log counts against the budget of the
// faults is what the overview calls so.
func TestAccessLogKeepsRoomForFaults(t *testing.T) {
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		s := &Server{started: time.Now()}
		s.access.log = (&logBook{}).logger()
		s.access.write(failedCall(s), code, grpcstatus.Error(code, "no"), 0)
		if got, want := s.access.faults.lines.Load() == 1, isFault(code, true); got != want {
			t.Errorf("%v: a fault: %v, want %v", code, got, want)
		}
	}
}
