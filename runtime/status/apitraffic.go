package status

import "fmt"

// withTraffic is a copy of the services with their traffic.
func withTraffic(services []Service, now []MethodTraffic) []Service {
	byName := make(map[string]*MethodTraffic, len(now))
	for i := range now {
		byName[now[i].Method] = &now[i]
	}
	services = append([]Service{}, services...)
	for i := range services {
		methods := append([]Method{}, services[i].Methods...)
		for j := range methods {
			methods[j].Traffic = byName[services[i].Name+"/"+methods[j].Name]
		}
		services[i].Methods = methods
	}
	return services
}

// trafficPairs are the figures of the last five minutes.
func (m Method) trafficPairs() KV {
	if m.Traffic == nil || m.Traffic.Calls == 0 {
		return KV{{"Calls of late", Cell{Text: "none", Tone: Muted}}}
	}
	t := m.Traffic.TrafficData
	kv := KV{
		{"Calls of late", Str(fmt.Sprintf("%s/s: %s in %s", digits(t.Rate), thousands(t.Calls), t.span()))},
		{"Latency", Str(fmt.Sprintf("p50 %s, p99 %s, average %s", t.P50.orNone(), t.P99.orNone(), t.Average.orNone()))},
	}
	if t.Errors > 0 {
		errs := Cell{Text: percent(t.Errors, t.Calls) + ": " + thousands(t.Errors), Tone: t.tone()}
		if t.Faults > 0 {
			errs.Text += ", of which " + thousands(t.Faults) + " are the server's"
		}
		kv = append(kv, Pair{"Errors", errs})
	}
	return kv
}
