package local

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/go-easyops/easyops/runtime/registry"
)

var _ registry.Lister = (*Registry)(nil)

// Services implements [registry.Lister].
func (r *Registry) Services(ctx context.Context) ([]string, error) {
	hubs := make([]*hub, len(r.read))
	for n, dir := range r.read {
		hubs[n] = acquireHub(dir, r.logger)
		defer releaseHub(hubs[n], nil)
	}
	settle(ctx, hubs)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	names, errs := map[string]struct{}{}, []error(nil)
	for _, h := range hubs {
		if err := h.services(names); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == len(hubs) { // one that can be read is enough, as for a watch
		return nil, errors.Join(errs...)
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// services adds the names of all that is listed, and returns why nothing can be
// known of it.
func (h *hub) services(names map[string]struct{}) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.known {
		for n := range p.instances {
			names[p.instances[n].Service] = struct{}{}
		}
	}
	return h.err
}
