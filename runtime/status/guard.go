package status

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// maxBody is the most that a POST may carry, in bytes.
const maxBody = 64 << 10

// admit lets a request through to a page or says why not. These are all the
// guards there are, in their order.
func (p *Pages) admit(w http.ResponseWriter, r *Request, pg *Page) error {
	for _, guard := range [...]func(http.ResponseWriter, *Request, *Page) error{
		p.checkMethod,
		p.checkHost,
		p.checkOrigin,
		p.checkBody,
		p.checkAccess,
		p.checkQuery,
		p.readBody,
	} {
		if err := guard(w, r, pg); err != nil {
			return err
		}
	}
	return nil
}

func (p *Pages) checkMethod(w http.ResponseWriter, r *Request, pg *Page) error {
	if slices.Contains(pg.methods(), r.Method) {
		return nil
	}
	w.Header().Set("Allow", strings.Join(pg.methods(), ", "))
	if pg.Post == nil || pg.Get != nil {
		u := p.ownURL(r.Request, r.URL.Path)
		send := "send a GET: " + p.curl(r.Request, "", u)
		if pg.Post != nil {
			send += ", or a POST: " + p.curl(r.Request, "-X POST ", u)
		}
		return Errorf(http.StatusMethodNotAllowed, "%s is not answered here; %s", visible(r.Method), send)
	}
	return p.askForPost(r.Request, pg)
}

// askForPost says how things stand, as far as the caller may know, and what can
// be posted, with buttons and commands.
func (p *Pages) askForPost(r *http.Request, pg *Page) *Error {
	var now []Block
	actions := pg.actions(r.URL.Path)
	if pg.Offer != nil && p.isOperator(r) {
		now, actions = pg.Offer(r)
	}
	e := Errorf(http.StatusMethodNotAllowed, "%s changes nothing here", visible(r.Method))
	e.title, e.now, e.body = pg.Title, now, slices.Clip(now)
	var commands []string
	for _, a := range actions {
		command := p.postCommand(r, a)
		e.body = append(e.body, a, Text("The same by curl:"), Code(command))
		if len(actions) > 1 {
			command += " (" + strings.ToLower(a.Label) + ")"
		}
		commands = append(commands, command)
	}
	if len(commands) > 0 {
		e.Text += "; send a POST: " + strings.Join(commands, ", or ")
	}
	return e
}

// postCommand is the command that does what a button does.
func (p *Pages) postCommand(r *http.Request, a Action) string {
	path, query, _ := strings.Cut(a.Path, "?")
	u := p.ownURL(r, path)
	if query != "" {
		u += "?" + query
	}
	return p.curl(r, "-X POST ", u)
}

// checkHost stops DNS rebinding: a web site that points its own name at this
// server gets nothing, because the browser sends that name. Scrapers know a
// server by names that it does not: metrics are kept to its own names only
// where they are asked for on loopback, of which no other machine is a part.
func (p *Pages) checkHost(_ http.ResponseWriter, r *Request, pg *Page) error {
	kept := pg.internal() || pg.Access == Metrics && localAddr(r.Request).Addr().IsLoopback()
	if !kept || p.knownHost(r.Request) {
		return nil
	}
	return forbidden("%q is not a name of this server: use %s", visible(r.Host), p.ownURL(r.Request, r.URL.Path))
}

func (p *Pages) knownHost(r *http.Request) bool {
	if !plainPort(r.Host) {
		return false
	}
	host := canonicalHost(hostname(r.Host))
	if host == "localhost" || p.hosts[host] {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Zone() == "" && (ip.IsLoopback() || ip == localAddr(r).Addr())
}

// plainPort reports whether the port of a Host header, where it has one, is a
// number: what is repeated in commands to copy must be no more than that.
func plainPort(hostport string) bool {
	_, port, err := net.SplitHostPort(hostport)
	return err != nil || strings.Trim(port, "0123456789") == ""
}

// checkOrigin refuses what another web site made a browser send. GETs that
// cost nothing pass: browsers let no other site read the answer.
func (p *Pages) checkOrigin(_ http.ResponseWriter, r *Request, pg *Page) error {
	if r.Method != http.MethodPost && !pg.Costly {
		return nil
	}
	if p.origin.Check(r.Request) != nil || !ownOrigin(r.Request) {
		return forbidden("a web page of another site sent this request: open /internal/help on this server, or use curl")
	}
	return nil
}

// ownOrigin is stricter than [http.CrossOriginProtection]: it looks at the
// Origin whatever Sec-Fetch-Site says, and at GETs too.
func ownOrigin(r *http.Request) bool {
	for _, site := range r.Header.Values("Sec-Fetch-Site") {
		if site != "same-origin" && site != "none" {
			return false
		}
	}
	for _, origin := range r.Header.Values("Origin") {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host) {
			return false
		}
	}
	return true
}

// checkBody admits the two types of body that pages understand; a form that
// another site sends as text/plain is none of them.
func (p *Pages) checkBody(w http.ResponseWriter, r *Request, _ *Page) error {
	if r.Method != http.MethodPost || r.ContentLength == 0 {
		return nil
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || t != "application/json" && t != "application/x-www-form-urlencoded" {
		return Errorf(http.StatusUnsupportedMediaType,
			"the body must be application/json or application/x-www-form-urlencoded: say so in Content-Type")
	}
	return nil
}

func (p *Pages) checkAccess(_ http.ResponseWriter, r *Request, pg *Page) error {
	var decide Authorizer
	switch pg.Access {
	case Everyone:
		return nil
	case Operator:
		decide = p.cfg.Operator
	case Metrics:
		decide = p.cfg.Metrics
	default:
		return forbidden("this page has no access level")
	}
	who, err := decide(r.Request)
	r.Who = who // of whom it refuses too, for the log
	if err != nil {
		decisionOf(r.Request).keep(who, err) // who may not even read metrics is no operator
		return asError(err, http.StatusForbidden)
	}
	return nil
}

// checkQuery refuses a query that is not read as it was meant: [url.URL.Query]
// drops the parts that are malformed, and pages look for the names that they
// know, so that a slip would do for good what was to be tried.
func (p *Pages) checkQuery(_ http.ResponseWriter, r *Request, pg *Page) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return Errorf(http.StatusBadRequest, "the query is malformed (%s): write ?name=value, with & between several, "+
			"and escape what is special in URLs", visible(err.Error()))
	}
	if r.Method != http.MethodPost {
		return nil
	}
	known := append(slices.Clip(pg.Query), "reason")
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if name != "format" && !slices.Contains(known, name) {
			return Errorf(http.StatusBadRequest, "?%s is unknown, and nothing is done: a POST here knows %s", logged(name), strings.Join(known, ", "))
		}
	}
	return nil
}

// readBody reads the body before the page acts, so that one that does not come
// keeps neither the audit line nor a shutdown waiting. The server's deadline
// for reading a request bounds how long it takes.
func (p *Pages) readBody(_ http.ResponseWriter, r *Request, _ *Page) error {
	if r.Method != http.MethodPost || r.ContentLength == 0 {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return Errorf(http.StatusRequestEntityTooLarge, "the body has more than %d bytes, and nothing is done", maxBody)
	}
	if err != nil {
		return Errorf(http.StatusRequestTimeout, "the body did not arrive, and nothing is done: send as much as Content-Length says, or none")
	}
	if t, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); t != "application/json" {
		r.form, _ = url.ParseQuery(string(body)) // a page that looks at more of it says what is wrong
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// direct refuses what came through a proxy before it asks who is there: to an
// operator's check a proxy on the same machine looks like the operator.
func direct(decide Authorizer) Authorizer {
	return func(r *http.Request) (string, error) {
		if err := notForwarded(r); err != nil {
			return "", err
		}
		return decide(r)
	}
}

func notForwarded(r *http.Request) error {
	for name := range r.Header {
		if forwarding(name) {
			return forbidden("the request came through a proxy (it has %s), and who is behind it cannot be told: "+
				"send it to the server directly", visible(name))
		}
	}
	return nil
}

// forwarding reports whether proxies add the header.
func forwarding(name string) bool {
	name = http.CanonicalHeaderKey(name)
	return name == "Forwarded" || name == "Via" || name == "X-Real-Ip" || strings.HasPrefix(name, "X-Forwarded-")
}

// ownURL is an address of this server for a command to copy. A foreign Host
// is never repeated there.
func (p *Pages) ownURL(r *http.Request, path string) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return (&url.URL{Scheme: scheme, Host: p.ownHost(r), Path: path}).String()
}

func (p *Pages) ownHost(r *http.Request) string {
	if p.knownHost(r) {
		return r.Host
	}
	return localAddr(r).String()
}

// hostname is a Host header without its port.
func hostname(hostport string) string {
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		return h
	}
	return hostport
}

// localAddr is the address of this server that the connection reached.
func localAddr(r *http.Request) netip.AddrPort {
	a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return netip.AddrPort{}
	}
	return parseAddrPort(a.String())
}

func parseAddrPort(s string) netip.AddrPort {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}
