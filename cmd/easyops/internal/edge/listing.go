package edge

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// listing knows which services a registry lists. A route such as "*" leaves it to
// callers to name one: names that they have made up cost the registry one question a
// second, for all of them together, and nothing else. Its methods may be called
// concurrently.
type listing struct {
	registry registry.Registry

	mu    sync.Mutex
	names []string // sorted
	at    time.Time
	err   error // why names are older than that
}

const (
	listEvery   = time.Second
	listTimeout = 2 * time.Second
)

// find returns nil if a service is listed. Where the registry cannot be asked, it is so
// if it was listed when it could; where it knows no names, each is good.
func (l *listing) find(service string) error {
	lister, ok := l.registry.(registry.Lister)
	if !ok {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.hasLocked(service) && time.Since(l.at) > listEvery {
		l.askLocked(lister)
	}
	if l.hasLocked(service) {
		return nil
	}
	if l.err != nil {
		return fmt.Errorf("whether %s is listed in %s is not known: %w", service, l.registry, l.err)
	}
	return fmt.Errorf("no instance of %s is listed in %s", service, l.registry)
}

func (l *listing) hasLocked(service string) bool {
	_, found := slices.BinarySearch(l.names, service)
	return found
}

// askLocked asks for all callers, so none of them can end it.
func (l *listing) askLocked(lister registry.Lister) {
	ctx, cancel := context.WithTimeout(context.Background(), listTimeout)
	defer cancel()
	var names []string
	if names, l.err = lister.Services(ctx); l.err == nil {
		l.names = names
	}
	l.at = time.Now()
}
