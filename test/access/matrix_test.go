package access

import (
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/go-easyops/easyops/test/access/routes"
)

// place is where a question comes from.
type place struct {
	name, addr    string
	loopback, own bool // own is the user of this machine that runs the server
}

// places are the addresses of this machine, and another user of it.
func places(t *testing.T) []place {
	t.Helper()
	all := []place{
		{"loopback", "127.0.0.1", true, true},
		{"another address of loopback", "127.0.0.2", true, true},
	}
	if addr := outerAddr(t); addr != "" {
		all = append(all, place{"another address of the machine", addr, false, true})
	} else {
		t.Log("NOT COVERED: another address of this machine, because it has none")
	}
	return append(all, place{"another user", "127.0.0.1", true, false})
}

// outerAddr is an IPv4 address of this machine that is not loopback.
func outerAddr(t *testing.T) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	return ""
}

// tally counts what the matrix has seen.
type tally struct {
	asked, admitted, changed int
	texts                    map[string]int // of refusals, without names and numbers
}

// TestMatrix asks every page of every kind of server, as everyone, from
// everywhere, in every way. What is refused says what to do and changes nothing;
// what is allowed answers, and changes what it is for.
func TestMatrix(t *testing.T) {
	places, child := places(t), otherUser(t)
	n := &tally{texts: map[string]int{}}
	for _, m := range modes {
		if !full && !m.short {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			run := &matrixRun{T: t, tally: n, mode: m, child: child, own: asker{}}
			defer run.own.close()
			run.all(places, m.routes(t))
		})
	}
	t.Logf("%d cells: %d admitted, of which %d changed something, %d refused", n.asked, n.admitted, n.changed, n.asked-n.admitted)
	for text, count := range n.texts {
		if !advises.MatchString(text) {
			t.Errorf("a refusal does not say what to do (%d times): %s", count, text)
		}
		t.Logf("%6d  %s", count, text)
	}
}

// matrixRun asks all questions of one mode.
type matrixRun struct {
	*testing.T
	*tally
	mode
	child func([]question) []answer
	own   asker
}

func (m *matrixRun) all(places []place, all []routes.Route) {
	if len(all) < 20 {
		m.Fatalf("only %d pages: %v", len(all), all)
	}
	ports := []string{"pages"}
	if m.apart {
		ports = append(ports, "grpc")
	}
	r := m.start(m.T)
	for _, p := range places {
		if p.own || m.child != nil {
			m.from(r, p, ports, all)
		}
	}
}

// from asks all questions from a place. Those that change something when they are
// allowed come after the others, and a shutdown has a server of its own.
func (m *matrixRun) from(r *running, p place, ports []string, all []routes.Route) {
	var asking, changing []cell
	for _, port := range ports {
		for _, who := range callers {
			for _, w := range ways {
				if port == "grpc" && len(w.header) > 0 {
					continue // there is nothing there that could look at it
				}
				for _, route := range all {
					c := cell{running: r, port: port, who: who, place: p, way: w, route: route}
					if d := c.declared(); d != "" && d != route.Access && !m.Failed() {
						m.Errorf("%s declares that it is for %s, the rules say %s", route.Path, route.Access, d)
					}
					if w.method == http.MethodPost && c.want() == http.StatusOK {
						changing = append(changing, c)
					} else {
						asking = append(asking, c)
					}
				}
			}
		}
	}
	m.leaveAsItIs(r, p, asking)
	for _, c := range changing {
		m.change(c)
	}
}

// leaveAsItIs asks what must not change anything, one after the other where they
// come from this process.
func (m *matrixRun) leaveAsItIs(r *running, p place, cells []cell) {
	before := r.state(m.T)
	if !p.own {
		questions := make([]question, len(cells))
		for i, c := range cells {
			questions[i] = quick(c.question())
		}
		for i, a := range m.child(questions) {
			m.check(cells[i], a)
		}
		m.unchanged(r, before, "what another user asked")
		return
	}
	for _, c := range cells {
		m.check(c, m.own.ask(quick(c.question())))
		if c.way.method == http.MethodPost && c.route.Answers(http.MethodPost) {
			m.unchanged(r, before, c.String())
		}
	}
	m.unchanged(r, before, "all that")
}

func (m *matrixRun) unchanged(r *running, before, what string) {
	m.Helper()
	if now := r.state(m.T); now != before {
		m.Fatalf("%s: the server was %q and is %q", what, before, now)
	}
}

// quick makes profiles that take their time refuse their own parameter, which
// shows just as well that the request has come through.
func quick(q question) question {
	if regexp.MustCompile(`/(cpu|profile|trace)$`).MatchString(q.URL) {
		q.URL += "?seconds=0"
	}
	return q
}

// own are refusals of pages, not of the guards.
var own = regexp.MustCompile(`^(seconds=0 cannot be|heap dumps hold every secret)`)

func (m *matrixRun) check(c cell, a answer) {
	m.Helper()
	m.asked++
	code := a.Code
	if own.MatchString(a.Body) {
		code = http.StatusOK
	}
	want := c.want()
	if code != want {
		m.Errorf("%v: %v, want %d", c, a, want)
		return
	}
	if want == http.StatusOK {
		m.admitted++
		return
	}
	m.texts[general(a.Body)]++
	if strings.TrimSpace(a.Body) == "" {
		m.Errorf("%v: %d without a word", c, a.Code)
	}
}

// advises tells whether a text says what to do: a command, a setting, a page, or
// an imperative.
var advises = regexp.MustCompile(`curl |-easyops\.|/internal/help|\b(use|send|open|ask|keep|name|write|say|restart) |lists them|: there are `)

// general is a text without how things stand, addresses and paths.
func general(text string) string {
	if at := strings.Index(text, "GET changes nothing here"); at > 0 {
		text = text[at:]
	}
	for _, g := range []struct{ what, with string }{
		{`https?://[^ ']*`, "URL"},
		{`/ns/test/[a-z]+`, "/ns/test/NAME"},
		{`user \d+`, "user N"},
		{`"user [a-z]+"|user (alice|root)`, "user NAME"},
		{`service (billing|deployer)`, "service NAME"},
	} {
		text = regexp.MustCompile(g.what).ReplaceAllString(text, g.with)
	}
	return strings.TrimSpace(text)
}

// change asks what is allowed, and wants it to have its effect.
func (m *matrixRun) change(c cell) {
	m.asked++
	m.admitted++
	e, ok := effects[c.route.Path]
	if !ok {
		m.Fatalf("%s answers POST: say in effects how to see what it changes", c.route.Path)
	}
	if e.ends {
		c.running = m.start(m.T)
	}
	e.prepare(m.T, c.running)
	before := c.state(m.T)
	var a answer
	if q := c.question(); c.place.own {
		a = m.own.ask(q)
	} else {
		a = m.child([]question{q})[0]
	}
	if a.Code/100 != 2 {
		m.Errorf("%v: %v", c, a)
	}
	e.await(m.T, c.running)
	if now := c.state(m.T); now == before {
		m.Errorf("%v: nothing has changed: %s", c, now)
	} else {
		m.changed++
	}
	e.undo(m.T, c)
}

// effect is what a POST to a page is for.
type effect struct {
	body    string // of the POST, a form
	ends    bool   // the server
	prepare func(*testing.T, *running)
	await   func(*testing.T, *running) // where it comes after the answer
	undo    func(*testing.T, cell)
}
