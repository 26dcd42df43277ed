package routing

import (
	"maps"
	"strings"
	"sync"
	"time"
	"unicode"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/endpointsharding"
	"google.golang.org/grpc/connectivity"
)

type failuresKey struct{}

// maxTold is how many reasons are told at most, until one of the instances
// they were told of can be reached again or is not listed any more.
const maxTold = 8

// failures tells the log why instances of a service cannot be reached.
type failures struct {
	journal *journal
	service string

	minute budget // entries may come and go as strangers like

	mu   sync.Mutex
	told map[string]string // by reason: the instance that it was told of
}

// note tells of what is new among the states of the instances.
func (f *failures) note(children []endpointsharding.ChildState) {
	f.forget(children)
	for _, child := range children {
		err := errorOf(child)
		if err == nil {
			continue
		}
		if peer := peerOf(child); f.isNews(causeOf(err), peer) {
			f.journal.warn("no connection to an instance", "service", f.service, "peer", peer, "err", explain(err, wasReached(child)))
		}
	}
}

// forget makes news of what was told of instances that can be reached again, or
// are not listed any more.
func (f *failures) forget(children []endpointsharding.ChildState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.told) == 0 {
		return
	}
	away := make(map[string]bool, len(children)) // by address
	for _, child := range children {
		away[peerOf(child)] = child.State.ConnectivityState != connectivity.Ready
	}
	maps.DeleteFunc(f.told, func(_, peer string) bool { return !away[peer] })
}

// isNews notes a reason. Ports and times in it are not news.
func (f *failures) isNews(cause, peer string) bool {
	reason := strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return -1
		}
		return r
	}, cause)
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.told[reason]; known || len(f.told) >= maxTold || !f.minute.take(time.Now()) {
		return false
	}
	if f.told == nil {
		f.told = map[string]string{}
	}
	f.told[reason] = peer
	return true
}

// connectError returns why an instance cannot be reached, explained, or nothing.
func connectError(children []endpointsharding.ChildState) string {
	for _, child := range children {
		if err := errorOf(child); err != nil {
			return explain(err, wasReached(child))
		}
	}
	return ""
}

// wasReached tells whether an instance has been reached before.
func wasReached(child endpointsharding.ChildState) bool {
	m := memberOf(child.Endpoint)
	return m != nil && m.reached.Load()
}

// errorOf returns why an instance cannot be reached, or nil.
func errorOf(child endpointsharding.ChildState) error {
	if child.State.ConnectivityState != connectivity.TransientFailure {
		return nil
	}
	_, err := child.State.Picker.Pick(balancer.PickInfo{})
	return err
}

// peerOf returns the address of an instance.
func peerOf(child endpointsharding.ChildState) string {
	if len(child.Endpoint.Addresses) == 0 {
		return ""
	}
	return child.Endpoint.Addresses[0].Addr
}
