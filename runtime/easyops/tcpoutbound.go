package easyops

import (
	"strings"

	"google.golang.org/grpc/connectivity"

	"github.com/go-easyops/easyops/runtime/routing"
	"github.com/go-easyops/easyops/runtime/status"
)

// outbound describes the pools as clients of the process are.
func (t *tcpPools) outbound() []status.Outbound {
	var all []status.Outbound
	for _, s := range t.status() {
		all = append(all, describePool(s))
	}
	return all
}

// describePool puts into gRPC's words how a pool is, which has no connections of its
// own: an instance is IDLE before it was connected to, and TRANSIENT_FAILURE where that
// failed last.
func describePool(s routing.PoolStatus) status.Outbound {
	o := status.Outbound{
		State:   connectivity.TransientFailure.String(),
		Service: s.Service, Source: s.Source + ", by DialTCP", ByTarget: strings.HasPrefix(s.Source, "target "),
		Listed: s.Listed, ListedAt: s.ListedAt, LastAnswer: s.Answered, Error: s.RegistryError,
	}
	for _, i := range s.Instances {
		state := connectivity.Ready
		switch {
		case !i.OutUntil.IsZero():
			state = connectivity.TransientFailure
		case i.Picks == 0:
			state = connectivity.Idle
		}
		if state != connectivity.TransientFailure && o.State != connectivity.Ready.String() {
			o.State = state.String()
		}
		o.Instances = append(o.Instances, status.OutboundInstance{
			ID: i.ID, Addr: i.Addr, Version: i.Version, Tags: i.Tags, Class: "plain", Health: string(i.Health),
			State: state.String(), LastError: i.LastError, InFlight: i.InUse,
			Calls: i.Picks - uint64(i.InUse), Failures: i.Failures, EjectedUntil: i.OutUntil,
		})
	}
	return o
}
