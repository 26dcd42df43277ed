package easyops

import (
	"cmp"
	"sort"

	"github.com/go-easyops/easyops/runtime/status"
)

// outbound describes clients, in the order of their services.
func outbound(clients []*channel) []status.Outbound {
	all := make([]status.Outbound, 0, len(clients))
	for _, c := range clients {
		all = append(all, describeChannel(c))
	}
	sort.SliceStable(all, func(i, j int) bool {
		a, b := &all[i], &all[j]
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Source, b.Source)) < 0
	})
	return all
}

func describeChannel(c *channel) status.Outbound {
	st := c.conn.Status()
	o := status.Outbound{
		Service: st.Service, Source: st.Source, ByTarget: c.registry == nil, State: st.State,
		Listed: st.Listed, ListedAt: st.ListedAt, LastAnswer: st.Answered, Error: st.RegistryError,
	}
	for _, i := range st.Instances {
		o.Instances = append(o.Instances, status.OutboundInstance{
			ID: i.ID, Addr: i.Addr, Version: i.Version, Tags: i.Tags, Owner: i.Owner, Class: i.Class,
			Health: string(i.Health), State: i.State, Since: i.Since, LastError: i.LastError,
			InFlight: i.InFlight, Calls: i.Calls, Failures: i.Failures, Latency: status.Seconds(i.Latency),
			Ejections: i.Ejections, EjectedUntil: i.EjectedUntil,
		})
	}
	return o
}
