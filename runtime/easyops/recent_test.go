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
	c := &call{Context: context.Background(), method: &method{server: s, name: "a/B"}, begun: s.uptime()}
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
			{Time: time.Now().UTC(), Method: "a/B", Code: "NOT_FOUND", User: "alice", Service: "greeter", Peer: "unknown", Error: "no user ?7"},
			{Time: time.Now().UTC().Add(-time.Second), Method: "a/B", Code: "INTERNAL", User: "alice", Service: "greeter", Peer: "unknown", Error: "disk: full"},
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
				s.recent.add(failedCall(s), codes.NotFound, counted{&described})
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

// counted is an error that counts how often it is asked for its text.
type counted struct{ n *int }

func (c counted) Error() string { *c.n++; return "flood" }

func TestNamesOfCodes(t *testing.T) {
	for code := codes.OK; code <= codes.Unauthenticated; code++ {
		var back codes.Code
		name := codeName(code)
		if err := back.UnmarshalJSON([]byte(`"` + name + `"`)); err != nil || back != code || strings.ToUpper(name) != name {
			t.Errorf("%v is called %s, %v", code, name, err)
		}
	}
}
