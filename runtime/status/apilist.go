package status

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"
)

// apiRows is how much the API page describes at once, so that it stays below
// 1 MB: methods and fields. Of more it lists the methods, and describes the
// service or the method that the query names.
const apiRows = 1500

// rowsPerMethod is what a method takes beside its fields.
const rowsPerMethod = 8

// rows is how long the description of a service is.
func (s Service) rows() int {
	n := 0
	for _, m := range s.Methods {
		n += rowsPerMethod + m.Request.rows() + m.Response.rows()
	}
	for _, m := range s.Messages {
		n += m.rows()
	}
	return n
}

func (m *Message) rows() int {
	if m == nil {
		return 0
	}
	n := 1 + len(m.Fields)
	for _, f := range m.Fields {
		n += len(f.Values) / 5
	}
	return n
}

func rowsOf(services []Service) int {
	n := 0
	for _, s := range services {
		n += s.rows()
	}
	return n
}

// chosen are the services that a query names, with the methods that it names:
// all where it names none.
func chosen(services []Service, query url.Values) ([]Service, error) {
	service, method := query.Get("service"), query.Get("method")
	if service == "" && method == "" {
		return services, nil
	}
	var found []Service
	for _, s := range services {
		if service != "" && s.Name != service {
			continue
		}
		if method != "" {
			if s = s.only(method); len(s.Methods) == 0 {
				continue
			}
		}
		found = append(found, s)
	}
	if len(found) == 0 {
		return nil, Errorf(http.StatusNotFound, "nothing here is called %s: %s lists what is",
			visible(strings.Trim(service+"/"+method, "/")), apiPath)
	}
	return found, nil
}

// only is the service with one method, and the messages that this needs.
func (s Service) only(method string) Service {
	one := s
	one.Methods, one.Messages = []Method{}, []Message{}
	byName := make(map[string]*Message, len(s.Messages))
	for i := range s.Messages {
		byName[s.Messages[i].Name] = &s.Messages[i]
	}
	for _, m := range s.Methods {
		if m.Name != method {
			continue
		}
		one.Methods = append(one.Methods, m)
		for _, name := range held(byName, m.Request, m.Response) {
			one.Messages = append(one.Messages, *byName[name])
		}
	}
	return one
}

// held are the names of the messages that others consist of, at any depth.
func held(byName map[string]*Message, todo ...*Message) []string {
	var names []string
	seen := map[string]bool{}
	for len(todo) > 0 {
		m := todo[0]
		todo = todo[1:]
		if m == nil {
			continue
		}
		for _, f := range m.Fields {
			if next := byName[f.Message]; next != nil && !seen[f.Message] {
				seen[f.Message] = true
				names = append(names, f.Message)
				todo = append(todo, next)
			}
		}
	}
	return names
}

// listedMethod is a method in the list of them.
type listedMethod struct {
	service string
	Method
}

// apiList lists methods of servers that have too many to describe all at once.
var apiList = listing[listedMethod]{
	Noun: "methods", Wide: 1, Empty: "No gRPC services are served here.",
	Columns: []column[listedMethod]{
		{"method", "Method", func(m listedMethod) Cell {
			return Cell{Text: m.service + "/" + m.Name, Tone: Mono, Link: describedAt(m.service, m.Name)}
		}, func(a, b listedMethod) int {
			return cmp.Or(cmp.Compare(a.service, b.service), cmp.Compare(a.Name, b.Name))
		}},
		{
			"access", "Who may call", func(m listedMethod) Cell { return Str(m.Access) },
			func(a, b listedMethod) int { return cmp.Compare(a.Access, b.Access) },
		},
		{
			"rate", "Per second", func(m listedMethod) Cell { return Str(digits(m.traffic().Rate)) },
			func(a, b listedMethod) int { return cmp.Compare(a.traffic().Rate, b.traffic().Rate) },
		},
		{
			"errors", "Errors", func(m listedMethod) Cell { return m.traffic().errorCell() },
			func(a, b listedMethod) int { return cmp.Compare(a.traffic().Errors, b.traffic().Errors) },
		},
		{
			"p50", "p50", func(m listedMethod) Cell { return Str(m.traffic().P50.orNone()) },
			func(a, b listedMethod) int { return cmp.Compare(a.traffic().P50, b.traffic().P50) },
		},
		{
			"p99", "p99", func(m listedMethod) Cell { return Str(m.traffic().P99.orNone()) },
			func(a, b listedMethod) int { return cmp.Compare(a.traffic().P99, b.traffic().P99) },
		},
	},
}

// traffic is none where nothing is known.
func (m *Method) traffic() TrafficData {
	if m.Traffic == nil {
		return TrafficData{}
	}
	return m.Traffic.TrafficData
}

// describedAt is where a method is described, however many there are.
func describedAt(service, method string) string {
	query := url.Values{"service": {service}, "method": {method}}
	return apiPath + "?" + query.Encode()
}

// methodList is the page of a server that has too many methods.
func methodList(r *http.Request, services []Service) (View, error) {
	var all []listedMethod
	for _, s := range services {
		for _, m := range s.Methods {
			m.Request, m.Response, m.Example = nil, nil, ""
			all = append(all, listedMethod{s.Name, m})
		}
	}
	part, err := apiList.show(r, all)
	if err != nil {
		return View{}, err
	}
	data := APIData{Listed: &part.Listed, Services: []Service{}}
	for _, m := range part.Rows {
		data.add(m)
	}
	body := append([]Block{Text("Figures are of the last 5 min. A method's page describes it.")}, part.Blocks...)
	return View{Data: data, Body: body, Live: true}, nil
}

// add adds a method by its name and rule; what else is to be known of it the
// query for the method gives.
func (d *APIData) add(m listedMethod) {
	if n := len(d.Services); n == 0 || d.Services[n-1].Name != m.service {
		d.Services = append(d.Services, Service{Name: m.service, Methods: []Method{}, Messages: []Message{}})
	}
	last := &d.Services[len(d.Services)-1]
	last.Methods = append(last.Methods, m.Method)
}
