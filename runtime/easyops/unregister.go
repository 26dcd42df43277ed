package easyops

import (
	"context"
	"net/http"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/status"
)

// unregisterWait is how long the answer to /internal/unregister waits for the
// registry.
const unregisterWait = time.Second

// entries are what the registry is to list of the server in a state of health:
// nothing before it has come up, and nothing once an operator has taken it out.
// All that is published is decided here. The caller holds s.mu.
func (s *Server) entries(health registry.Health) []registry.Instance {
	if s.takenOut || health == registry.Starting {
		return nil
	}
	return s.instances(health)
}

// publish tells the publisher what is to be listed now. The caller holds s.mu.
func (s *Server) publish() {
	if s.publisher != nil {
		s.publisher.Set(s.entries(s.stateNow()))
	}
}

// lastEntries are what the registry is to list while the server stops.
func (s *Server) lastEntries() []registry.Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries(registry.Stopping)
}

// setTakenOut takes the server out of the registry, or puts it back, at an
// operator's wish, and waits a moment until the registry has it so.
func (s *Server) setTakenOut(ctx context.Context, out bool) (before, now status.Registry, err error) {
	s.mu.Lock()
	before, err = s.registryLocked(), s.refuseTakenOut()
	if err == nil {
		s.takenOut = out
		s.publish()
	}
	s.mu.Unlock()
	if err != nil {
		return before, before, err
	}
	ctx, cancel := context.WithTimeout(ctx, unregisterWait)
	defer cancel()
	return before, s.awaitListed(ctx, !out), nil
}

// refuseTakenOut says why the server can neither be taken out of the registry
// nor put back. The caller holds s.mu.
func (s *Server) refuseTakenOut() error {
	switch {
	case s.publisher == nil:
		return status.Errorf(http.StatusConflict, "no registry lists this server, so there is nothing to change: %s", s.unlisted())
	case s.stateNow() == registry.Stopping:
		return status.Errorf(http.StatusConflict, "the server is stopping and leaves the registry by itself: ask the one that takes its place")
	}
	return nil
}

// awaitListed waits until the registry lists the server, or does not any more,
// and returns what it has.
func (s *Server) awaitListed(ctx context.Context, listed bool) status.Registry {
	for {
		now := s.registryPage()
		starting := listed && s.stateNow() == registry.Starting // it is listed when it has come up
		if starting || listed == (now.State == string(registry.Registered)) && now.State != string(registry.Lost) {
			return now
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return now
		}
	}
}
