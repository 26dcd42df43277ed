package edge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/routing"
)

// firstAnswer is how long the registry may take for its first answers where an edge is
// to take over: the one that runs goes on by what it knows.
const firstAnswer = 10 * time.Second

// acquaint waits until the registry has said once, of each service that a route names,
// which instances there are. Before that an edge has nowhere to lead anything.
func (e *Edge) acquaint(ctx context.Context) error {
	if e.acquainted.Load() {
		return nil
	}
	if err := e.ask(ctx); err != nil {
		return fmt.Errorf("%s: %w: see whether it can be reached, and whether -easyops.registry or EASYOPS_REGISTRY names the right one", e.registry, err)
	}
	e.acquainted.Store(true)
	return nil
}

func (e *Edge) ask(ctx context.Context) error {
	pools := e.pools()
	if lister, ok := e.registry.(registry.Lister); ok && len(pools) == 0 { // patterns alone
		_, err := lister.Services(ctx)
		return err
	}
	for ; ; pools = e.pools() {
		pools = slices.DeleteFunc(pools, func(p routing.PoolStatus) bool { return !p.ListedAt.IsZero() })
		if len(pools) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return notSaid(pools)
		case <-time.After(retryPause):
		}
	}
}

// pools is what is known of all services that routes name.
func (e *Edge) pools() []routing.PoolStatus {
	all := e.table.services()
	for _, s := range e.ports.status() {
		all = append(all, s.Pool)
	}
	return all
}

// notSaid is the error of a registry that has not said anything of services.
func notSaid(pools []routing.PoolStatus) error {
	var services []string
	cause := ""
	for _, p := range pools {
		services = append(services, p.Service)
		if p.RegistryError != "" {
			cause = ": " + p.RegistryError
		}
	}
	slices.Sort(services)
	return errors.New("it has not said yet which instances there are of " + strings.Join(slices.Compact(services), ", ") + cause)
}

// meetFirst is called where an edge runs that this one is to take over from.
func (e *Edge) meetFirst(p *prior) error {
	if p == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(e.life, firstAnswer)
	defer cancel()
	err := e.acquaint(ctx)
	switch {
	case err == nil:
		return nil
	case e.config.Anyway:
		e.log.Warn("taking over without knowing of any instance", "pid", p.pid, "err", err)
		e.acquainted.Store(true) // it is to be ready
		return nil
	default:
		return fmt.Errorf("not taking over from process %d, which may know more: %w; or take over in any case by --take-over-anyway", p.pid, err)
	}
}
