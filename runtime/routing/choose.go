package routing

import (
	"slices"

	"github.com/go-easyops/easyops/runtime/registry"
)

// choose returns the instances that calls may go to, out of all that are
// listed: each step narrows what the one before it left. None means that none
// is fit.
func choose(listed []registry.Instance) []registry.Instance {
	fit := slices.Clone(listed)
	for _, step := range []func([]registry.Instance) []registry.Instance{
		speakingGRPC,
		healthiest,
	} {
		fit = step(fit)
	}
	return fit
}

func speakingGRPC(list []registry.Instance) []registry.Instance {
	return slices.DeleteFunc(list, func(i registry.Instance) bool {
		return !slices.Contains(i.Kinds, registry.KindGRPC)
	})
}

// healthiest keeps the instances that are READY, else those that are STOPPING:
// these still serve, for a while.
func healthiest(list []registry.Instance) []registry.Instance {
	for _, h := range []registry.Health{registry.Ready, registry.Stopping} {
		if fit := withHealth(list, h); len(fit) > 0 {
			return fit
		}
	}
	return nil
}

func withHealth(list []registry.Instance, h registry.Health) (fit []registry.Instance) {
	for _, i := range list {
		if i.Health == h {
			fit = append(fit, i)
		}
	}
	return fit
}

// restarted reports whether one of the instances took the address of another
// one that was known before.
func restarted(before, now []registry.Instance) bool {
	ids := make(map[string]string, len(before)) // by address
	for _, i := range before {
		ids[i.Addr] = i.ID
	}
	return slices.ContainsFunc(now, func(i registry.Instance) bool {
		id, known := ids[i.Addr]
		return known && id != i.ID
	})
}
