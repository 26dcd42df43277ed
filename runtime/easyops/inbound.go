package easyops

import (
	"context"
	"crypto/tls"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/port"
	"github.com/go-easyops/easyops/runtime/status"
)

// maxInbound is how many connections the status pages show.
const maxInbound = 10_000

// connectionsPage is what the page of the connections shows.
func (s *Server) connectionsPage() status.ConnectionsData {
	open, total := s.port.List(maxInbound)
	in := make([]status.Inbound, 0, len(open))
	for _, o := range open {
		in = append(in, s.describeInbound(o))
	}
	in, ofTCP := s.inboundTCP(in)
	out := append(outbound(conns()), dialledTCP.outbound()...)
	return status.ConnectionsData{Outbound: out, Inbound: in, InboundOpen: total + ofTCP, TCP: s.tcpPage()}
}

func (s *Server) describeInbound(o port.Open) status.Inbound {
	i := status.Inbound{
		Peer: o.Peer, Protocol: o.Protocol, Since: o.Since, Received: o.Received, Sent: o.Sent,
		InFlight: o.Use.InFlight(), Calls: o.Use.Calls(),
	}
	user, service := o.Use.Caller()
	if o.TLS != nil {
		i.TLS = tls.VersionName(o.TLS.Version)
		if user == "" && service == "" {
			user, service = s.certified(o.TLS)
		}
	}
	i.User, i.Service = clean(user), clean(service)
	return i
}

// certified names whom a client's certificate is of. What is the user's own is not
// asked: it may take long, and there are many connections.
func (s *Server) certified(state *tls.ConnectionState) (user, service string) {
	certs := verified(state.VerifiedChains)
	if s.trust != authenticated || len(certs) == 0 {
		return "", ""
	}
	c, err := auth.Identify(context.Background(), auth.Presented{Certs: certs}, s.opened)
	if err != nil {
		return "", ""
	}
	return idsOf(c.Identity)
}

// idsOf returns the IDs of a user and of a service, "" for none.
func idsOf(id auth.Identity) (user, service string) {
	if id.User != nil {
		user = id.User.ID
	}
	if id.Service != nil {
		service = id.Service.ID
	}
	return user, service
}

// idsIn returns where the IDs are, nil for none.
func idsIn(id auth.Identity) (user, service *string) {
	if id.User != nil {
		user = &id.User.ID
	}
	if id.Service != nil {
		service = &id.Service.ID
	}
	return user, service
}
