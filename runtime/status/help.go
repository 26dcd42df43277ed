package status

import (
	"net/http"
	"strings"
)

const helpPath = "/internal/help"

// helpPages are the pages that every server has.
func (p *Pages) helpPages() []Page {
	return []Page{
		{
			Path: helpPath, Group: "This server", Title: "Help", Access: Operator,
			Help: "This page: every page of the server and its gRPC services.",
			Get:  func(r *Request) (View, error) { return p.helpView(r), nil },
		},
		asset(stylePath, "Style", "text/css; charset=utf-8", style),
		asset(iconPath, "Icon", "image/svg+xml", icon),
		asset(livePath, "Script", "text/javascript; charset=utf-8", live),
	}
}

func (p *Pages) helpView(r *Request) View {
	pages := p.list()
	services := p.describedServices()
	v := View{Title: p.cfg.Name, Data: p.helpData(r, pages, services)}
	if len(services) > 0 {
		v.Body = append(v.Body, p.servicesSection(r, services))
	}
	if p.cfg.Registry != nil {
		v.Body = append(v.Body, p.cfg.Registry().section())
	}
	if p.cfg.Identity != nil {
		v.Body = append(v.Body, p.cfg.Identity().section())
	}
	for _, group := range groups(pages) {
		v.Body = append(v.Body, Section{ID: slug(group), Title: group, Body: []Block{p.groupTable(pages, group)}})
	}
	v.Body = append(v.Body, Text("Each page is HTML for a browser, JSON with Accept: application/json or ?format=json, and text otherwise."))
	return v
}

func (p *Pages) helpData(r *Request, pages []*Page, services []Service) HelpData {
	d := HelpData{Name: p.cfg.Name, State: p.state(r.Request), Pages: []PageData{}, Services: []ServiceData{}}
	if p.cfg.Registry != nil {
		d.Registry = p.cfg.Registry().data()
	}
	if p.cfg.Identity != nil {
		d.Identity = p.cfg.Identity().data()
	}
	for _, pg := range pages {
		if !pg.Hidden {
			d.Pages = append(d.Pages, PageData{pg.Path, pg.verbs(), pg.Group, pg.Title, pg.Help, pg.Access.String()})
		}
	}
	for _, s := range services {
		sd := ServiceData{Name: s.Name, Methods: []string{}}
		for _, m := range s.Methods {
			sd.Methods = append(sd.Methods, m.Name)
		}
		d.Services = append(d.Services, sd)
	}
	return d
}

// groups are the headings of the pages in the order of their first page.
func groups(pages []*Page) []string {
	var names []string
	seen := map[string]bool{}
	for _, pg := range pages {
		if !pg.Hidden && !seen[pg.Group] {
			seen[pg.Group] = true
			names = append(names, pg.Group)
		}
	}
	return names
}

func (p *Pages) groupTable(pages []*Page, group string) Table {
	t := Table{Columns: []string{"Page", "What", "Who"}, Wide: 2}
	for _, pg := range pages {
		if !pg.Hidden && pg.Group == group {
			t.Rows = append(t.Rows, []Cell{pg.cell(), Str(pg.Help), {Text: p.who(pg.Access), Tone: Muted}})
		}
	}
	return t
}

// who is an access level for people.
func (p *Pages) who(a Access) string {
	if a == Metrics {
		return p.cfg.MetricsFor
	}
	return a.String()
}

// cell is the page's path with a link, and what to send where that is not GET.
func (pg *Page) cell() Cell {
	c := Name(pg.Path)
	if pg.Get == nil && pg.Raw == nil {
		c.Text = "POST " + pg.Path
	}
	if !pg.hasWildcard() {
		c.Link = pg.Path
	}
	return c
}

func (p *Pages) servicesSection(r *Request, services []Service) Section {
	t := Table{Columns: []string{"Service", "Methods"}, Wide: 2}
	var call Block
	for _, s := range services {
		if s.Infrastructure {
			continue
		}
		var names []string
		for _, m := range s.Methods {
			names = append(names, m.Name)
			if call == nil && m.Kind == Unary {
				call = Code(p.command(r.Request, s.Name, m))
			}
		}
		t.Rows = append(t.Rows, []Cell{
			{Text: s.Name, Tone: Mono, Link: apiPath + "#" + s.Name},
			Name(strings.Join(names, ", ")),
		})
	}
	sec := Section{ID: "services", Title: "gRPC services", Body: []Block{t}}
	if call != nil {
		sec.Body = append(sec.Body, Text("A call by grpcurl:"), call)
		sec.Body = append(sec.Body, p.certificateHint(r.Request)...)
	}
	return sec
}

// describedServices are the services of the API page, if there is one.
func (p *Pages) describedServices() []Service {
	if f := p.services.Load(); f != nil {
		return (*f)()
	}
	return nil
}

// state is the server's health state, or empty before it is known.
func (p *Pages) state(r *http.Request) string { return p.healthNow(r).State }

func (p *Pages) healthNow(r *http.Request) Health {
	if f := p.health.Load(); f != nil {
		return (*f)(r.Context())
	}
	return Health{}
}

// slug makes a fragment of a heading.
func slug(s string) string { return strings.ReplaceAll(strings.ToLower(s), " ", "-") }
