package status

import (
	"net/http"
	"strings"
)

// helpData is the JSON form of the help page.
type helpData struct {
	Name     string        `json:"name"`
	State    string        `json:"state,omitempty"`
	Pages    []pageData    `json:"pages"`
	Services []serviceData `json:"services"`
}

type pageData struct {
	Path    string   `json:"path"`
	Methods []string `json:"methods"`
	Group   string   `json:"group"`
	Title   string   `json:"title"`
	Help    string   `json:"help"`
	Access  string   `json:"access"`
}

type serviceData struct {
	Name    string   `json:"name"`
	Methods []string `json:"methods"`
}

// helpPages are the pages that every server has.
func (p *Pages) helpPages() []Page {
	help := Page{
		Path: "/internal/help", Group: "This server", Title: "Help", Access: Operator,
		Help: "Every page of this server.",
		Get:  func(r *Request) (View, error) { return p.helpView(r), nil },
	}
	overview, bare := help, help
	overview.Path, overview.Hidden = "/internal/", true
	bare.Path, bare.Hidden = "/internal", true
	return []Page{help, overview, bare, {
		Path: stylePath, Title: "Style", Help: "How the pages look.", Access: Everyone, Hidden: true,
		Raw: func(w http.ResponseWriter, _ *Request) error {
			w.Header().Set("Content-Type", "text/css; charset=utf-8")
			_, _ = w.Write(style) // the client's loss
			return nil
		},
	}}
}

func (p *Pages) helpView(r *Request) View {
	pages := p.list()
	services := p.describedServices()
	v := View{Title: p.cfg.Name, Data: p.helpData(r, pages, services)}
	for _, group := range groups(pages) {
		v.Body = append(v.Body, Section{ID: slug(group), Title: group, Body: []Block{p.groupTable(pages, group)}})
	}
	if len(services) > 0 {
		v.Body = append([]Block{p.servicesSection(r, services)}, v.Body...)
	}
	return v
}

func (p *Pages) helpData(r *Request, pages []*Page, services []Service) helpData {
	d := helpData{Name: p.cfg.Name, State: p.state(r.Request), Pages: []pageData{}, Services: []serviceData{}}
	for _, pg := range pages {
		if !pg.Hidden {
			d.Pages = append(d.Pages, pageData{pg.Path, pg.verbs(), pg.Group, pg.Title, pg.Help, pg.Access.String()})
		}
	}
	for _, s := range services {
		sd := serviceData{Name: s.Name, Methods: []string{}}
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
	t := Table{Columns: []string{"Page", "Path", "What", "Who"}}
	for _, pg := range pages {
		if pg.Hidden || pg.Group != group {
			continue
		}
		path := Cell{Text: pg.Path, Tone: Mono}
		if pg.Get == nil && pg.Raw == nil {
			path.Text = "POST " + path.Text
		}
		title := Str(pg.Title)
		if !pg.hasWildcard() {
			title.Link = pg.Path
		}
		t.Rows = append(t.Rows, []Cell{title, path, Str(pg.Help), {Text: pg.Access.String(), Tone: Muted}})
	}
	return t
}

func (p *Pages) servicesSection(r *Request, services []Service) Section {
	t := Table{Columns: []string{"Service", "Methods"}}
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
			{Text: s.Name, Tone: Mono, Link: "/internal/service-info/api#" + s.Name},
			Name(strings.Join(names, ", ")),
		})
	}
	sec := Section{ID: "services", Title: "gRPC services", Body: []Block{t}}
	if call != nil {
		sec.Body = append(sec.Body, Text("A call by grpcurl:"), call)
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
func (p *Pages) state(r *http.Request) string {
	if f := p.health.Load(); f != nil {
		return (*f)(r.Context()).State
	}
	return ""
}

// slug makes a fragment of a heading.
func slug(s string) string { return strings.ReplaceAll(strings.ToLower(s), " ", "-") }
