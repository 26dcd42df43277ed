package routing

import (
	"cmp"
	"sort"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// Status is how a Conn is at a moment.
type Status struct {
	Service       string           `json:"service"`
	Source        string           `json:"source"` // the registry, or the target
	State         string           `json:"state"`  // as of gRPC, such as READY
	Listed        int              `json:"listed"` // instances in the registry, of any kind and health; 0 with a target
	ListedAt      time.Time        `json:"listed_at,omitzero"`
	Answered      time.Time        `json:"answered,omitzero"` // when the registry last answered anything
	RegistryError string           `json:"registry_error,omitempty"`
	Ejections     uint64           `json:"ejections"` // of all instances since Dial
	Instances     []InstanceStatus `json:"instances"` // those that calls go to, by class, address and ID
}

// InstanceStatus is how an instance is that calls go to.
type InstanceStatus struct {
	registry.Instance // with a target only the address

	Class        string        `json:"class"`                  // "plain", "owner alice" or "tags a=b,c=d"
	State        string        `json:"state"`                  // of the connection, as of gRPC
	Since        time.Time     `json:"since"`                  // of the state
	LastError    string        `json:"last_error,omitempty"`   // of a connection, which may be repaired
	InFlight     int           `json:"in_flight"`              // calls and streams under way
	Calls        uint64        `json:"calls"`                  // that have ended, attempts counted apart
	Failures     uint64        `json:"failures"`               // of these, as they count for ejections
	Latency      time.Duration `json:"latency"`                // moving average of unary calls, in ns; 0 for none
	Ejections    uint64        `json:"ejections"`              // how often it was, a failed trial not counted apart
	EjectedUntil time.Time     `json:"ejected_until,omitzero"` // in the past while it is on trial; zero while it is in use
}

// Status returns how the connection is now. With a target whose resolver is not
// one of dns and passthrough it knows of no instances.
func (c *Conn) Status() Status {
	s := Status{Service: c.policy.Service, Source: c.policy.Source, State: c.State().String(), Ejections: c.roster.ejections.Load()}
	if c.finder != nil {
		c.finder.report(&s)
	}
	for _, m := range c.roster.all() {
		s.Instances = append(s.Instances, m.status())
	}
	sort.Slice(s.Instances, func(i, j int) bool {
		a, b := &s.Instances[i], &s.Instances[j]
		return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.ID, b.ID)) < 0
	})
	return s
}

func (f *finder) report(s *Status) {
	s.Answered = f.config.Registry.LastAnswer()
	f.mu.Lock()
	defer f.mu.Unlock()
	s.Listed, s.ListedAt = len(f.listed), f.listedAt
	if f.failing != nil {
		s.RegistryError = f.failing.Error()
	}
}

func (m *member) status() InstanceStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	return InstanceStatus{
		Instance:     m.instance,
		Class:        m.class.String(),
		State:        m.state.String(),
		Since:        m.since,
		LastError:    m.lastErr,
		InFlight:     int(m.load.under(false) + m.load.under(true)),
		Calls:        m.calls,
		Failures:     m.failures,
		Latency:      m.average.value,
		Ejections:    m.ejections,
		EjectedUntil: m.record.until,
	}
}
