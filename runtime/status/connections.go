package status

import (
	"cmp"
	"strconv"
	"time"
)

const connectionsPath = "/internal/service-info/grpc-connections"

// HandleConnections registers /internal/service-info/grpc-connections, which
// shows what connections gives: all inbound connections, in any order and without
// what [Listed] says. connections may be called concurrently.
func (p *Pages) HandleConnections(connections func() ConnectionsData) error {
	return p.Handle(Page{
		Path: connectionsPath, Group: "This server", Title: "Connections", Access: Operator,
		Help: "Who is connected to this server, and the clients of this process: which instances they know and call, and how these do.",
		Get:  func(r *Request) (View, error) { return connections().view(r, time.Now()) },
	})
}

func (d ConnectionsData) view(r *Request, now time.Time) (View, error) {
	in, err := d.inbound(r, now)
	if err != nil {
		return View{}, err
	}
	out := d.outbound(now)
	body := []Block{in, out}
	if len(d.TCP) > 0 {
		body = []Block{in, tcpSection(d.TCP), out}
	}
	return View{Data: d, Body: body, Live: true}, nil
}

// outbound describes the clients, and makes them what their JSON promises.
func (d *ConnectionsData) outbound(now time.Time) Section {
	clients := d.Outbound
	ids := anchors(clients)
	sec := Section{ID: "outbound", Title: "Outbound"}
	d.Outbound = []Outbound{}
	for i, o := range clients {
		o = o.whole()
		d.Outbound = append(d.Outbound, o)
		sec.Body = append(sec.Body, o.section(ids[i], now))
	}
	if len(d.Outbound) == 0 {
		sec.Body = []Block{Text("This process has no open client: it makes one by a Dial function.")}
	}
	return sec
}

// anchors are the fragments by which the page is linked to clients.
func anchors(clients []Outbound) (ids []string) {
	seen := map[string]int{}
	for _, o := range clients {
		seen[o.Service]++
		id := o.Service
		if n := seen[o.Service]; n > 1 {
			id += "-" + strconv.Itoa(n)
		}
		ids = append(ids, id)
	}
	return ids
}

// whole is the client with what its JSON promises: a list, and times in UTC.
func (o Outbound) whole() Outbound {
	o.LastAnswer, o.ListedAt = o.LastAnswer.UTC(), o.ListedAt.UTC()
	o.Instances = append([]OutboundInstance{}, o.Instances...)
	for n, i := range o.Instances {
		o.Instances[n].EjectedUntil, o.Instances[n].Since = i.EjectedUntil.UTC(), i.Since.UTC()
	}
	return o
}

func (o Outbound) section(id string, now time.Time) Section {
	sec := Section{ID: id, Title: o.Service, Mono: true, Badges: []Cell{connectivity(o.State)}}
	sec.Body = []Block{o.pairs(now), o.table(now)}
	if faults := o.faults(); len(faults.Rows) > 0 {
		sec.Body = append(sec.Body, faults)
	}
	return sec
}

func (o Outbound) pairs(now time.Time) KV {
	kv := KV{{"Found by", Name(o.Source)}}
	if !o.ByTarget {
		kv = append(kv, Pair{"Listed", Str(o.listed())}, Pair{"Last answer", Str(ago(o.LastAnswer, now))})
	}
	if o.Error != "" {
		kv = append(kv, Pair{"Fault", Cell{Text: o.Error, Tone: Bad}})
	}
	return kv
}

func (o Outbound) listed() string {
	switch {
	case o.ListedAt.IsZero():
		return "not known yet"
	case o.Listed == 0:
		return "none"
	}
	return thousands(o.Listed) + ", connections to " + thousands(len(o.Instances))
}

func (o Outbound) table(now time.Time) Table {
	t := Table{
		Columns: []string{"Instance", "Address", "State", "Health", "In flight", "Calls", "Failures", "Latency", "Class", "Version"},
		Empty:   o.empty(),
	}
	for _, i := range o.Instances {
		t.Rows = append(t.Rows, []Cell{
			Name(cmp.Or(i.ID, none)), Name(i.Addr), i.state(now), i.health(o.listsNone()), Str(thousands(i.InFlight)),
			Str(thousands(i.Calls)), Str(thousands(i.Failures)), Str(i.Latency.orNone()),
			Str(cmp.Or(i.Class, none)), Str(cmp.Or(i.Version, none)),
		})
	}
	return t
}

// empty says why the client has no instance.
func (o Outbound) empty() string {
	switch {
	case o.State == "IDLE":
		return "There is no connection: a client connects with its first call."
	case o.ByTarget:
		return "No instance is known: some kinds of target do not tell."
	case o.ListedAt.IsZero():
		return "It is not known yet which instances are listed."
	case o.Listed == 0:
		return "None is listed."
	}
	return "No listed instance is for the calls so far (those with an owner or tags take only calls for them)."
}

// faults are the last errors of instances: too long for the table of these.
func (o Outbound) faults() Table {
	t := Table{Caption: "Last errors", Columns: []string{"Instance", "Error"}, Wide: 2}
	for _, i := range o.Instances {
		if i.LastError != "" {
			t.Rows = append(t.Rows, []Cell{Name(cmp.Or(i.ID, i.Addr)), Str(i.LastError)})
		}
	}
	return t
}

// health is what the registry has, or had while it listed the instance. Where that
// cannot be so it is not shown as good.
func (i OutboundInstance) health(gone bool) Cell {
	switch c := stateCell(i.Health); {
	case i.Health == "": // a target says nothing about it
		return Str(none)
	case gone:
		return Cell{Text: i.Health + " when last listed", Tone: Muted}
	case i.State == "TRANSIENT_FAILURE" && c.Tone == Good:
		return Cell{Text: i.Health, Tone: Neutral}
	default:
		return c
	}
}

// state is the state, or what is left of an ejection.
func (i OutboundInstance) state(now time.Time) Cell {
	switch left := i.EjectedUntil.Sub(now); {
	case i.EjectedUntil.IsZero() || i.State != "READY":
		return connectivity(i.State)
	case left > 0:
		return Cell{Text: "ejected for " + short(left), Tone: Bad}
	}
	return Cell{Text: "on trial", Tone: Warn}
}

// connectivity is a state of gRPC's, or one of the balancer's.
func connectivity(state string) Cell {
	c := Cell{Text: state, Tone: Warn}
	switch state {
	case "READY":
		c.Tone = Good
	case "TRANSIENT_FAILURE":
		c.Tone = Bad
	case "IDLE", "CONNECTING":
		c.Tone = Neutral
	}
	return c
}
