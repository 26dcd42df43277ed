package easyops

import "errors"

// addGauges adds what the server knows of itself to its metrics.
func (s *Server) addGauges() error {
	gauge := func(name, help string, f func() float64) error { return s.metrics.GaugeFunc(name, help, f) }
	return errors.Join(
		s.addSourceGauges(),
		s.addRegistryGauges(),
		s.addTCPGauges(),
		gauge("easyops_calls_in_flight", "Calls that have begun and not ended.", func() float64 { return float64(s.calls.inFlight()) }),
		gauge("easyops_handlers_ignoring_context", "Handlers that go on 10 s after the context of their call has ended.", func() float64 { return float64(s.calls.ignoring.Load()) }),
		gauge("easyops_connections", "Open connections on the port.", func() float64 { return float64(s.port.Conns().Open) }),
		gauge("easyops_ready", "1 while the server is READY.", func() float64 {
			if s.stateNow() == "READY" {
				return 1
			}
			return 0
		}),
	)
}
