package routing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// NoInstanceError says that no instance of a service could be had. Where connections
// were tried, what [errors.Is] finds is the last error of one.
type NoInstanceError struct {
	Service string        // its name
	Source  string        // where its instances were looked for: the registry, or the target
	Note    string        // what is listed there
	Err     error         // the last error of a connection; nil for none
	Ended   error         // of the caller's context; nil where that goes on
	Waited  time.Duration // since it was asked for
}

// Error names the last error of a connection, the service, where it was looked for,
// and what is there, in this order.
func (e *NoInstanceError) Error() string {
	text := fmt.Sprintf("no instance of %s can be reached: %s", e.Service, e.Note)
	if e.Err != nil {
		text = fmt.Sprintf("%s; with that last error %s", causeOf(e.Err), text)
	}
	switch {
	case e.Ended != nil:
		return fmt.Sprintf("%s; waited %v until %s: %v", text, e.Waited.Round(time.Millisecond), e.whyEnded(), e.Ended)
	case e.Waited >= time.Millisecond:
		return fmt.Sprintf("%s; waited %v", text, e.Waited.Round(time.Millisecond))
	}
	return text
}

// whyEnded says who did not wait any longer.
func (e *NoInstanceError) whyEnded() string {
	if errors.Is(e.Ended, context.DeadlineExceeded) {
		return "the time for it was over"
	}
	return "nobody waited for it any more"
}

// Unwrap returns Err and Ended.
func (e *NoInstanceError) Unwrap() (errs []error) {
	for _, err := range []error{e.Err, e.Ended} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// PoolStatus is how a Pool is at a moment.
type PoolStatus struct {
	Service       string         `json:"service"`
	Kind          registry.Kind  `json:"kind"`
	Source        string         `json:"source"` // the registry, or the target
	Listed        int            `json:"listed"` // instances in the registry, of any kind and health; 0 with a target
	ListedAt      time.Time      `json:"listed_at,omitzero"`
	Answered      time.Time      `json:"answered,omitzero"` // when the registry last answered anything
	RegistryError string         `json:"registry_error,omitempty"`
	LastError     string         `json:"last_error,omitempty"` // of a connection to any instance, which may be repaired
	LastErrorAt   time.Time      `json:"last_error_at,omitzero"`
	Instances     []PoolInstance `json:"instances"` // those that may be chosen, by address and ID
}

// PoolInstance is how an instance is that may be chosen.
type PoolInstance struct {
	registry.Instance // with a target only the address

	Lost      bool      `json:"lost,omitempty"` // it is not listed any more, but there is no other
	InUse     int       `json:"in_use"`         // picks that are not done, connections that are not closed
	Picks     uint64    `json:"picks"`          // how often it was chosen
	Failures  uint64    `json:"failures"`       // of these
	LastError string    `json:"last_error,omitempty"`
	OutUntil  time.Time `json:"out_until,omitzero"` // it failed, and is left out until then if there are others; zero while it works
}

// Status returns how the pool is now.
func (p *Pool) Status() PoolStatus {
	s := PoolStatus{Service: p.config.Service, Kind: p.config.Kind, Source: p.config.source()}
	if p.config.Target == "" {
		s.Answered = p.config.Registry.LastAnswer()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Listed, s.ListedAt, s.LastError, s.LastErrorAt = p.listed, p.listedAt, p.lastErr, p.lastErrAt
	if p.registryError != nil {
		s.RegistryError = p.registryError.Error()
	}
	s.Instances = p.stock.status()
	return s
}
