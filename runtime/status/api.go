package status

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Service describes a gRPC service for the API page. It is also the JSON form.
type Service struct {
	// Name is the full name, such as "echo.v1.EchoService".
	Name       string   `json:"name"`
	Comment    string   `json:"comment"`
	Deprecated bool     `json:"deprecated"`
	Methods    []Method `json:"methods"`
	// Messages are those that the fields of requests and responses consist
	// of, in the order of their names.
	Messages []Message `json:"messages"`
	// Infrastructure marks services that every server has, such as health
	// and reflection; pages list them last.
	Infrastructure bool `json:"infrastructure"`
}

// Method describes a method of a service.
type Method struct {
	Name       string `json:"name"`
	Comment    string `json:"comment"`
	Deprecated bool   `json:"deprecated"`
	Kind       Kind   `json:"kind"`
	// Request and Response are nil where the server has no descriptor.
	Request  *Message `json:"request,omitempty"`
	Response *Message `json:"response,omitempty"`
	Rule
	// Idempotency is "NO_SIDE_EFFECTS", "IDEMPOTENT" or empty.
	Idempotency string `json:"idempotency"`
	// Example is a request in JSON to begin with.
	Example string `json:"example"`
	// Traffic is what calls were like in the last five minutes; nil without any.
	// The API page sets it.
	Traffic *MethodTraffic `json:"traffic,omitempty"`
}

// Rule is what holds for the calls of a method.
type Rule struct {
	// Access says who may call, for people.
	Access string `json:"access"`
	// NotEnforced says that the server lets everyone in nevertheless, because
	// it cannot verify who calls.
	NotEnforced bool `json:"not_enforced,omitempty"`
	// Token says that the example command must show a token: the method may
	// be for everyone, but the reflection that the command uses is not.
	Token bool `json:"token"`
	// Deadline is how long a call may take at most; 0 says that there is no
	// limit.
	Deadline Seconds `json:"deadline_seconds"`
}

// Seconds is a duration that marshals to a number of seconds.
type Seconds time.Duration

// MarshalJSON implements json.Marshaler.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "%g", time.Duration(s).Seconds()), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Seconds) UnmarshalJSON(b []byte) error {
	seconds, err := strconv.ParseFloat(string(b), 64)
	if err != nil {
		return fmt.Errorf("seconds: %w", err)
	}
	*s = Seconds(math.Round(seconds * float64(time.Second)))
	return nil
}

// Kind is how a method streams.
type Kind string

// The kinds of method.
const (
	Unary           Kind = "unary"
	ServerStreaming Kind = "server streaming"
	ClientStreaming Kind = "client streaming"
	Bidirectional   Kind = "bidirectional streaming"
)

// KindOf is the kind of a method that streams so.
func KindOf(client, server bool) Kind {
	switch {
	case client && server:
		return Bidirectional
	case client:
		return ClientStreaming
	case server:
		return ServerStreaming
	}
	return Unary
}

// Message describes a request or a response.
type Message struct {
	// Name is the full name, such as "echo.v1.EchoRequest".
	Name   string  `json:"name"`
	Fields []Field `json:"fields"`
}

// Field describes a field of a message.
type Field struct {
	Name   string `json:"name"`
	Number int    `json:"number"`
	// Type is written as in a .proto file, such as "repeated string" or
	// "map<string, echo.v1.Item>".
	Type string `json:"type"`
	// Message is the full name of the message that the field holds, if any.
	Message    string `json:"message,omitempty"`
	Oneof      string `json:"oneof,omitempty"`
	Deprecated bool   `json:"deprecated,omitempty"`
	// Values are the names of an enum's values.
	Values []string `json:"values,omitempty"`
}

const apiPath = "/internal/service-info/api"

// HandleAPI registers /internal/service-info/api, which shows what services
// gives, with what traffic says of methods of late, and lists the services on the
// help page. Both may be called concurrently; what services returns must not
// change afterwards. traffic may be nil.
func (p *Pages) HandleAPI(services func() []Service, traffic func() []MethodTraffic) error {
	p.services.Store(&services)
	return p.Handle(Page{
		Path: apiPath, Group: "This server", Title: "API", Access: Operator,
		Help: "Services, methods, messages, the access rule and the traffic of each method, and a command that calls it.",
		Get: func(r *Request) (View, error) {
			var now []MethodTraffic
			if traffic != nil {
				now = traffic()
			}
			return p.apiView(r.Request, withTraffic(services(), now))
		},
	})
}

func (p *Pages) apiView(r *http.Request, services []Service) (View, error) {
	some, err := chosen(services, r.URL.Query())
	if err != nil {
		return View{}, err
	}
	if rowsOf(some) > apiRows && r.URL.Query().Get("method") == "" {
		return methodList(r, some)
	}
	v := View{Data: APIData{Services: some}, Live: rowsOf(some) <= apiRows/4}
	if len(some) < len(services) || r.URL.Query().Has("method") {
		v.Body = append(v.Body, Links{Links: []Cell{Link(apiPath, "All services")}})
	}
	v.Body = append(v.Body, p.serviceSections(r, some)...)
	if len(services) == 0 {
		v.Body = []Block{Text("No gRPC services are served here.")}
	}
	return v, nil
}

// serviceSections describe the services, first those that are not on every
// server: the others stay out of the table of contents but for where they begin.
func (p *Pages) serviceSections(r *http.Request, services []Service) []Block {
	var own, others []Block
	for _, s := range services {
		sec := p.serviceSection(r, s)
		if s.Infrastructure {
			sec.Unlisted = true
			others = append(others, sec)
		} else {
			own = append(own, sec)
		}
	}
	if len(own) > 0 && len(others) > 0 {
		own = append(own, Section{ID: "infrastructure", Title: "On every server", Body: []Block{Text("What follows are services that each server has.")}})
	}
	all := append(own, others...)
	addToFirst(all, p.certificateHint(r))
	return all
}

// addToFirst adds to the section of the first method, whose command is the first.
func addToFirst(services, hint []Block) {
	for _, s := range services {
		for i, b := range s.(Section).Body {
			if method, ok := b.(Section); ok {
				method.Body = append(method.Body, hint...)
				s.(Section).Body[i] = method
				return
			}
		}
	}
}

func (p *Pages) serviceSection(r *http.Request, s Service) Section {
	sec := Section{ID: s.Name, Title: s.Name, Mono: true, Badges: deprecation(s.Deprecated)}
	known := s.links()
	if s.Comment != "" {
		sec.Body = append(sec.Body, Text(s.Comment))
	}
	for _, m := range s.Methods {
		sec.Body = append(sec.Body, p.methodSection(r, s, m, known))
	}
	if len(s.Methods) == 0 {
		sec.Body = append(sec.Body, Text("This service has no methods."))
	}
	if len(s.Messages) > 0 {
		messages := Section{ID: s.Name + "-messages", Title: "Messages"}
		for _, m := range s.Messages {
			messages.Body = append(messages.Body, Section{
				ID: s.Name + "-" + m.Name, Title: m.Name, Mono: true, Body: []Block{m.table("", known)},
			})
		}
		sec.Body = append(sec.Body, messages)
	}
	return sec
}

// links are the links to the service's messages, by name.
func (s Service) links() map[string]string {
	links := make(map[string]string, len(s.Messages))
	for _, m := range s.Messages {
		links[m.Name] = "#" + s.Name + "-" + m.Name
	}
	return links
}

func (p *Pages) methodSection(r *http.Request, s Service, m Method, known map[string]string) Section {
	badges := append([]Cell{{Text: string(m.Kind), Tone: Neutral}}, deprecation(m.Deprecated)...)
	sec := Section{ID: s.Name + "." + m.Name, Title: m.Name, Mono: true, Badges: badges}
	if m.Comment != "" {
		sec.Body = append(sec.Body, Text(m.Comment))
	}
	sec.Body = append(sec.Body, m.rules())
	for _, side := range []struct {
		name    string
		message *Message
	}{{"Request", m.Request}, {"Response", m.Response}} {
		if side.message != nil {
			sec.Body = append(sec.Body, side.message.table(side.name+" "+side.message.Name, known))
		}
	}
	sec.Body = append(sec.Body, Code(p.command(r, s.Name, m)))
	return sec
}

func deprecation(is bool) []Cell {
	if !is {
		return nil
	}
	return []Cell{{Text: "deprecated", Tone: Warn}}
}

func (m Method) rules() KV {
	deadline := "none but the caller's own"
	if m.Deadline > 0 {
		deadline = short(time.Duration(m.Deadline)) + ", or the caller's own if that is sooner"
	}
	access := m.Access
	if m.NotEnforced {
		access += " (not enforced: this server cannot verify callers and lets everyone in)"
	}
	kv := KV{{"Who may call", Str(access)}, {"Deadline", Str(deadline)}}
	switch m.Idempotency {
	case "NO_SIDE_EFFECTS":
		kv = append(kv, Pair{"Retries", Str("safe: no side effects")})
	case "IDEMPOTENT":
		kv = append(kv, Pair{"Retries", Str("safe: idempotent")})
	default:
		kv = append(kv, Pair{"Retries", Str("never: a call may have side effects")})
	}
	return append(kv, m.trafficPairs()...)
}

func (m *Message) table(caption string, known map[string]string) Table {
	t := Table{
		Caption: caption,
		Columns: []string{"Field", "Type", "Number"}, Wide: 2,
		Empty: "This message has no fields.",
	}
	for _, f := range m.Fields {
		t.Rows = append(t.Rows, []Cell{Name(f.Name), {Text: f.describe(), Tone: Mono, Link: known[f.Message]}, Name(fmt.Sprint(f.Number))})
	}
	return t
}

// describe is the field's type with what else is to be known about it.
func (f Field) describe() string {
	s := f.Type
	if len(f.Values) > 0 {
		s += " { " + strings.Join(f.Values, ", ") + " }"
	}
	if f.Oneof != "" {
		s += ", one of " + f.Oneof
	}
	if f.Deprecated {
		s += ", deprecated"
	}
	return s
}

// command is a call by grpcurl, to copy. It uses reflection, which the server
// has.
func (p *Pages) command(r *http.Request, service string, m Method) string {
	var b strings.Builder
	b.WriteString("grpcurl")
	if r.TLS == nil {
		b.WriteString(" -plaintext")
	} else {
		b.WriteString(" -cacert ca.pem")
	}
	if m.Token {
		b.WriteString(callerFlag)
	}
	if m.Example != "" && m.Example != "{}" {
		b.WriteString(" -d " + shellQuote(m.Example))
	}
	fmt.Fprintf(&b, " %s %s/%s", p.grpcHost(r), service, m.Name)
	return visible(b.String())
}

// callerFlag is what grpcurl and curl send a token by.
const callerFlag = ` -H "authorization: Bearer $TOKEN"`

// certificateHint says what a certificate changes in the commands of grpcurl.
func (p *Pages) certificateHint(r *http.Request) []Block {
	switch {
	case r.TLS == nil || !p.cfg.Certificates:
		return nil
	case p.cfg.Tokens:
		return []Block{Text("Who has a certificate calls with -cert cert.pem -key key.pem in place of -H.")}
	}
	return []Block{Text("Callers are known by their certificates: add -cert cert.pem -key key.pem to the commands.")}
}

// curl is a request by curl to a page of this server, to copy. What the server
// wants of callers stands at the end.
func (p *Pages) curl(r *http.Request, args, target string) string {
	s := "curl " + args + shellQuote(target)
	if r.TLS != nil {
		s += " --cacert ca.pem"
	}
	switch {
	case p.cfg.Tokens:
		s += callerFlag
	case p.cfg.Certificates:
		s += " --cert cert.pem --key key.pem"
	}
	return s
}

func (p *Pages) grpcHost(r *http.Request) string {
	if p.cfg.GRPCAddr != "" {
		return p.cfg.GRPCAddr
	}
	return p.ownHost(r)
}

// shellQuote makes a text one word for a shell. Words that mean the same without
// quotes get none.
func shellQuote(s string) string {
	if s != "" && strings.Trim(s, shellPlain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// shellPlain are characters that no shell takes for more.
const shellPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=%,"
