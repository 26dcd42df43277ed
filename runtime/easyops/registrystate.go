package easyops

import (
	"errors"
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
		LastAnswer: s.registry.LastAnswer(), Err: s.publisher.LastError(),
	}
}

// unlisted says why there is no publisher.
func (s *Server) unlisted() string {
	switch {
	case s.cfg.unlisted:
		return "the program starts it WithoutRegistration"
	case s.registry == nil:
		return "-easyops.registry or EASYOPS_REGISTRY is none"
	case len(s.services) == 0:
		return "it serves no gRPC service"
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
	if s.registry == nil || len(s.services) == 0 {
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
