package status

import (
	"fmt"
	"time"
)

// inbound describes the connections that the request asks for, and leaves only
// these in the data.
func (d *ConnectionsData) inbound(r *Request, now time.Time) (Section, error) {
	list := inboundListing(now)
	s, err := list.show(r.Request, d.Inbound)
	if err != nil {
		return Section{}, err
	}
	d.InboundListed, d.Inbound = s.Listed, make([]Inbound, 0, len(s.Rows))
	for _, i := range s.Rows {
		i.Since = i.Since.UTC()
		d.Inbound = append(d.Inbound, i)
	}
	sec := Section{ID: list.ID, Title: "Inbound", Body: s.Blocks}
	if d.InboundOpen > s.Listed.Total {
		note := fmt.Sprintf("%s are open. The list has the oldest of them.", count(d.InboundOpen, list.Noun))
		sec.Body = append([]Block{Text(note)}, sec.Body...)
	}
	return sec, nil
}

func inboundListing(now time.Time) listing[Inbound] {
	return listing[Inbound]{
		Noun: "connections", Sort: "-age", ID: "inbound",
		Empty: "Nobody is connected to the port.",
		Columns: []column[Inbound]{
			{"peer", "Peer", func(i Inbound) Cell { return Name(i.Peer) }, by(func(i Inbound) string { return i.Peer })},
			{"identity", "Identity", Inbound.identity, by(Inbound.who)},
			{"protocol", "Protocol", func(i Inbound) Cell { return Str(i.Protocol) }, by(func(i Inbound) string { return i.Protocol })},
			{"tls", "TLS", func(i Inbound) Cell { return orNone(i.TLS) }, by(func(i Inbound) string { return i.TLS })},
			{"age", "Age", func(i Inbound) Cell { return Str(lasting(now.Sub(i.Since))) }, func(a, b Inbound) int { return b.Since.Compare(a.Since) }},
			{"in-flight", "In flight", func(i Inbound) Cell { return Str(thousands(i.InFlight)) }, by(func(i Inbound) int64 { return i.InFlight })},
			{"calls", "Calls", func(i Inbound) Cell { return Str(thousands(i.Calls)) }, by(func(i Inbound) uint64 { return i.Calls })},
			{"received", "Received", func(i Inbound) Cell { return Str(memory(i.Received)) }, by(func(i Inbound) uint64 { return i.Received })},
			{"sent", "Sent", func(i Inbound) Cell { return Str(memory(i.Sent)) }, by(func(i Inbound) uint64 { return i.Sent })},
		},
	}
}

// who names the caller of the last call.
func (i Inbound) who() string {
	switch {
	case i.User != "" && i.Service != "":
		return "user " + i.User + " by service " + i.Service
	case i.User != "":
		return "user " + i.User
	case i.Service != "":
		return "service " + i.Service
	}
	return ""
}

func (i Inbound) identity() Cell { return orNone(i.who()) }

func orNone(s string) Cell {
	if s == "" {
		return Cell{Text: none, Tone: Muted}
	}
	return Str(s)
}

// tcpSection is the TCP services, whose connections are among the inbound ones.
func tcpSection(services []TCPService) Section {
	t := Table{Columns: []string{"Service", "Address", "TLS", "Open", "Accepted", "Refused", "Received", "Sent"}}
	for _, s := range services {
		t.Rows = append(t.Rows, []Cell{
			Name(s.Service), Name(s.Addr), yesOrNone(s.TLS), Str(thousands(s.Open)), Str(thousands(s.Accepted)), Str(thousands(s.Refused)),
			Str(memory(s.Received)), Str(memory(s.Sent)),
		})
	}
	return Section{ID: "tcp", Title: "TCP services", Body: []Block{t}}
}

func yesOrNone(yes bool) Cell {
	if yes {
		return Str("yes")
	}
	return orNone("")
}
