package status

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
)

// Access says who may see a page. Its zero value is no access level, and a
// page without one cannot be registered.
type Access int

// The access levels of pages.
const (
	// Everyone may see the page, without an identity.
	Everyone Access = iota + 1
	// Operator is whom [Config].Operator accepts, and nobody behind a proxy.
	Operator
	// Metrics is whom [Config].Metrics accepts.
	Metrics
)

// String is the level's name, as the help page shows it.
func (a Access) String() string {
	switch a {
	case Everyone:
		return "everyone"
	case Operator:
		return "operator"
	case Metrics:
		return "metrics"
	}
	return fmt.Sprintf("Access(%d)", int(a))
}

// Page is one page of the status API. Its functions may be called
// concurrently.
type Page struct {
	// Path is where the page is: below /internal/, or /metrics, /livez or
	// /readyz. It may end in a wildcard of [http.ServeMux], such as
	// "/internal/clearcache/{name}", that the request's PathValue gives.
	Path string
	// Group is the heading under which the help page lists the page.
	Group string
	// Title names the page in a few words.
	Title string
	// Nav is the word by which all pages link to this one, beside those that
	// every server has; "" for none.
	Nav string
	// Help says in a sentence what the page shows or does.
	Help string
	// Access is who may see the page. It must be set.
	Access Access
	// Get answers GET and HEAD.
	Get func(*Request) (View, error)
	// Post answers POST. What it changes, it reports by [Request.Changed].
	Post func(*Request) (View, error)
	// Query names what Post understands in the query, beside "reason" and
	// "format". A POST with any other name is refused, so that nothing is
	// done for good because of a slip in what was to keep it small.
	Query []string
	// Actions are the buttons that a browser gets in place of the answer to
	// a GET where there is only Post; none means one with the page's title.
	Actions []Action
	// Offer says for operators how things stand, which is shown above the
	// buttons, and which of the Actions can be taken now. Nil means all.
	Offer func(*http.Request) (now []Block, actions []Action)
	// Raw answers GET and HEAD in place of Get for what is not a view, such
	// as profiles. It may return an error only before it has written.
	Raw func(http.ResponseWriter, *Request) error
	// Costly marks a page whose GET costs the server something, such as a
	// profile: it is audited, other sites cannot trigger it, and HEAD does
	// not run it.
	Costly bool
	// Probe marks a page for machines that do not know the server's name:
	// it answers for any Host, and on [Pages.ProbesHandler] too.
	Probe bool
	// Hidden keeps the page off the help page.
	Hidden bool
}

// Request is a request that has passed the guards.
type Request struct {
	*http.Request
	// Who made the request, as the authorizer named the caller; empty on
	// pages for everyone.
	Who string

	admitted bool       // has passed the guards
	form     url.Values // of the body, where it is one
	changes  []change
}

type change struct{ what, old, new string }

// Changed reports what a POST has changed, for the audit line. Several
// changes may be reported.
func (r *Request) Changed(what, old, new string) {
	r.changes = append(r.changes, change{what, old, new})
}

// Reason is why the request was sent, for the audit line: what its query or its
// form says as "reason", in 256 characters at most.
func (r *Request) Reason() string {
	reason := r.URL.Query().Get("reason")
	if reason == "" && r.admitted {
		reason = r.form.Get("reason")
	}
	return truncate(strings.TrimSpace(reason))
}

// Reserved reports whether a path belongs to the status API, so that the
// handlers of users cannot have it.
func Reserved(urlPath string) bool {
	return urlPath == "/internal" || strings.HasPrefix(urlPath, "/internal/") ||
		slices.Contains(outside[:], urlPath)
}

// outside are the paths of pages that are not below /internal/.
var outside = [...]string{"/metrics", "/livez", "/readyz"}

// check finds what is wrong with a page before it is registered.
func (pg *Page) check() error {
	var errs []error
	bad := func(ok bool, text string) {
		if !ok {
			errs = append(errs, errors.New(text))
		}
	}
	bad(Reserved(pg.Path), "the path must be below /internal/")
	bad(pg.Path == path.Clean(pg.Path) || pg.Path == path.Clean(pg.Path)+"/", "the path must be clean")
	bad(pg.Access >= Everyone && pg.Access <= Metrics, "no access level is declared: set Access")
	bad(pg.Title != "" && pg.Help != "", "title and help must be set")
	bad(pg.Get != nil || pg.Post != nil || pg.Raw != nil, "one of Get, Post and Raw must be set")
	bad(pg.Get == nil || pg.Raw == nil, "only one of Get and Raw can be set")
	bad(!pg.Probe || pg.Access == Everyone && pg.Post == nil, "a probe is for everyone and changes nothing")
	bad(pg.Post == nil || pg.Access == Operator, "only operators may change something")
	if len(errs) > 0 {
		return fmt.Errorf("status page %q: %w", pg.Path, errors.Join(errs...))
	}
	return nil
}

// pattern is the page's path for [http.ServeMux]: a trailing slash is that
// path alone and not all below it.
func (pg *Page) pattern() string {
	if strings.HasSuffix(pg.Path, "/") {
		return pg.Path + "{$}"
	}
	return pg.Path
}

// methods are the HTTP methods that the page answers.
func (pg *Page) methods() []string {
	var ms []string
	if pg.Get != nil || pg.Raw != nil {
		ms = append(ms, http.MethodGet, http.MethodHead)
	}
	if pg.Post != nil {
		ms = append(ms, http.MethodPost)
	}
	return ms
}

// verbs are the methods as people think of them: HEAD goes without saying.
func (pg *Page) verbs() []string {
	return slices.DeleteFunc(pg.methods(), func(m string) bool { return m == http.MethodHead })
}

// actions are the page's buttons.
func (pg *Page) actions(path string) []Action {
	if len(pg.Actions) > 0 {
		return pg.Actions
	}
	return []Action{{Path: path, Label: pg.Title, Help: pg.Help}}
}

func (pg *Page) internal() bool { return strings.HasPrefix(pg.Path, "/internal") }

func (pg *Page) hasWildcard() bool { return strings.Contains(pg.Path, "{") }
