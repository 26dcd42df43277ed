package easyops

import (
	"crypto/tls"
	"errors"

	"github.com/go-easyops/easyops/runtime/status"
	"github.com/go-easyops/easyops/runtime/tcp"
)

// addTCPGauges adds what the TCP services have counted to the metrics.
func (s *Server) addTCPGauges() error {
	var errs []error
	for _, t := range s.cfg.tcp {
		counter := func(name, help string, f func() uint64, labels ...string) {
			errs = append(errs, s.metrics.CounterFunc(name, help, func() float64 { return float64(f()) }, append(labels, "service", t.name)...))
		}
		errs = append(errs, s.metrics.GaugeFunc("easyops_tcp_connections", "Open connections of a TCP service.",
			func() float64 { return float64(t.server.Open()) }, "service", t.name))
		counter("easyops_tcp_connections_accepted_total", "Connections that a TCP service has begun.", func() uint64 { return t.server.Stats().Accepted })
		counter("easyops_tcp_received_bytes_total", "Bytes that a TCP service has received, with those of TLS.", func() uint64 { return t.server.Stats().Received })
		counter("easyops_tcp_sent_bytes_total", "Bytes that a TCP service has sent, with those of TLS.", func() uint64 { return t.server.Stats().Sent })
		for _, why := range tcp.Refusals() {
			counter("easyops_tcp_connections_refused_total", "Connections that were closed before the handler had them, by reason.",
				func() uint64 { return t.server.Refused(why) }, "reason", why.String())
		}
	}
	return errors.Join(errs...)
}

// tcpPage is what the page of the connections shows of the TCP services.
func (s *Server) tcpPage() (all []status.TCPService) {
	for _, t := range s.cfg.tcp {
		st := t.server.Stats()
		d := status.TCPService{
			Service: t.name, Addr: t.lis.Addr().String(), TLS: t.tls,
			Open: st.Open, Accepted: st.Accepted, Received: st.Received, Sent: st.Sent,
		}
		for _, why := range tcp.Refusals() {
			d.Refused += t.server.Refused(why)
		}
		all = append(all, d)
	}
	return all
}

// inboundTCP adds the connections to TCP services to those of the port, and returns
// how many there are.
func (s *Server) inboundTCP(in []status.Inbound) (all []status.Inbound, open int) {
	for _, t := range s.cfg.tcp {
		conns, total := t.server.Connections(maxInbound)
		open += total
		for _, c := range conns {
			in = append(in, s.describeTCP(t, c))
		}
	}
	return in, open
}

func (s *Server) describeTCP(t *tcpService, c tcp.Connection) status.Inbound {
	i := status.Inbound{
		Peer: c.Peer, Protocol: t.method.name, Since: c.Since, Received: c.Received, Sent: c.Sent,
	}
	if c.Proxy != "" {
		i.Peer += " by " + c.Proxy
	}
	if c.TLS != nil {
		i.TLS = tls.VersionName(c.TLS.Version)
		user, service := s.certified(c.TLS)
		i.User, i.Service = clean(user), clean(service)
	}
	return i
}
