package routing

import (
	"slices"
	"sync"

	"google.golang.org/grpc/resolver"
)

// marker marks addresses by how often their connections were to be made anew,
// which is how the balancer learns of it (see renewable). All that our resolvers
// find goes by way of it, so it also hands the balancer what is the Conn's.
type marker struct {
	failures *failures // what the balancer tells of connections that fail
	roster   *roster

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
	s.Attributes = s.Attributes.WithValue(failuresKey{}, m.failures)
	if m.roster != nil {
		s.Attributes = s.Attributes.WithValue(rosterKey{}, m.roster)
	}
	if len(s.Addresses)+len(s.Endpoints) > 0 { // otherwise our balancer goes on with those it has
		m.last = s
	}
	m.last.Attributes = s.Attributes
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
	s.Addresses = marked(s.Addresses, m.times)
	s.Endpoints = slices.Clone(s.Endpoints)
	for i := range s.Endpoints {
		s.Endpoints[i].Addresses = marked(s.Endpoints[i].Addresses, m.times)
	}
	return s
}

func marked(addrs []resolver.Address, mark any) []resolver.Address {
	addrs = slices.Clone(addrs)
	for i := range addrs {
		addrs[i].Attributes = addrs[i].Attributes.WithValue(markKey{}, mark)
	}
	return addrs
}
