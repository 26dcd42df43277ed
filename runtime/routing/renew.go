package routing

import (
	"slices"
	"sync"

	"google.golang.org/grpc/resolver"
)

// marker marks addresses by how often their connections were to be made anew.
// To gRPC an address with another mark is another address: it connects to it and
// ends the connection to the former one once its calls have ended.
type marker struct {
	mu    sync.Mutex
	times int
	cc    resolver.ClientConn // of the last update; nil before the first
	last  resolver.State      // with addresses, as it came
}

type markKey struct{}

// update hands what a resolver has found on to gRPC.
func (m *marker) update(cc resolver.ClientConn, s resolver.State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cc = cc
	if len(s.Addresses)+len(s.Endpoints) > 0 { // otherwise our balancer goes on with those it has
		m.last = s
	}
	return cc.UpdateState(m.markedLocked(s))
}

func (m *marker) renew() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.times++
	if m.cc != nil {
		_ = m.cc.UpdateState(m.markedLocked(m.last)) // for resolvers that can ask again
	}
}

func (m *marker) markedLocked(s resolver.State) resolver.State {
	if m.times == 0 {
		return s
	}
	s.Addresses = m.mark(s.Addresses)
	s.Endpoints = slices.Clone(s.Endpoints)
	for i := range s.Endpoints {
		s.Endpoints[i].Addresses = m.mark(s.Endpoints[i].Addresses)
	}
	return s
}

func (m *marker) mark(addrs []resolver.Address) []resolver.Address {
	addrs = slices.Clone(addrs)
	for i := range addrs {
		addrs[i].Attributes = addrs[i].Attributes.WithValue(markKey{}, m.times)
	}
	return addrs
}
