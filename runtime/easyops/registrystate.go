package easyops

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/status"
)

// registryPage is what the status pages show of the registry.
func (s *Server) registryPage() status.Registry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.registryLocked()
}

func (s *Server) registryLocked() status.Registry {
	if s.publisher == nil {
		return status.Registry{Unlisted: s.unlisted()}
	}
	return status.Registry{
		Where: s.registry.String(), State: string(s.publisher.State()), TakenOut: s.takenOut,
		LastAnswer: s.registry.LastAnswer(), Err: s.publisher.LastError(), ListedAs: s.entryLocked(),
	}
}

// remembering is a registry that knows as what this server was listed there last:
// by which address is found on the way to it (see outward).
type remembering struct {
	registry.Registry
	last atomic.Pointer[registry.Instance]
}

// Register implements [registry.Registry].
func (r *remembering) Register(ctx context.Context, instances []registry.Instance) (registry.Lease, error) {
	lease, err := r.Registry.Register(ctx, instances)
	if err == nil {
		r.last.Store(&instances[0]) // they are all of one server
	}
	return lease, err
}

// entryLocked is what is listed of the server, or is to be; nil where that is
// nothing. The caller holds s.mu.
func (s *Server) entryLocked() *status.EntryData {
	if s.takenOut && s.publisher.State() == registry.Unregistered {
		return nil
	}
	entry := s.instances(s.stateNow())[0]
	if r, ok := s.registry.(*remembering); ok && r.last.Load() != nil {
		entry = *r.last.Load()
	}
	e := &status.EntryData{ID: entry.ID, Addr: entry.Addr, StatusAddr: entry.StatusAddr, Owner: entry.Owner, Tags: entry.Tags}
	for _, addr := range []*string{&e.Addr, &e.StatusAddr} {
		if isUnspecified(*addr) { // nobody has found out yet
			*addr = ""
		}
	}
	return e
}

// unlisted says why there is no publisher.
func (s *Server) unlisted() string {
	switch {
	case s.cfg.unlisted:
		return "the program starts it WithoutRegistration"
	case s.registry == nil:
		return "-easyops.registry or EASYOPS_REGISTRY is none"
	case len(s.names()) == 0:
		return "it serves nothing that has a name"
	case !s.serving.Load():
		return "it does not serve yet"
	}
	return "its address cannot be connected to: advertise one that can, by -easyops.advertise"
}

// takenOutState is the value of the label state, beside those of the publisher.
const takenOutState = "taken_out"

// addRegistryGauges adds what the server knows of its registry to its metrics;
// nothing where no registry can list it.
func (s *Server) addRegistryGauges() error {
	if s.registry == nil || len(s.names()) == 0 {
		return nil
	}
	errs := []error{s.metrics.GaugeFunc("easyops_registry_last_answer_timestamp_seconds",
		"When the registry last answered, in seconds since 1970; 0 before the first time.", func() float64 {
			return unixSeconds(s.registry.LastAnswer())
		})}
	for _, state := range []string{string(registry.Unregistered), string(registry.Registered), string(registry.Lost), takenOutState} {
		errs = append(errs, s.metrics.GaugeFunc("easyops_registry_state",
			"1 for the state of the server's registration, 0 for the others.", func() float64 {
				if s.registryState() == state {
					return 1
				}
				return 0
			}, "state", state))
	}
	return errors.Join(errs...)
}

// registryState is the state of the publisher, or that an operator has taken the
// server out and the registry knows.
func (s *Server) registryState() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.publisher == nil {
		return string(registry.Unregistered)
	}
	state := s.publisher.State()
	if s.takenOut && state == registry.Unregistered {
		return takenOutState
	}
	return string(state)
}

func unixSeconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
