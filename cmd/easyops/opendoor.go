package main

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/go-easyops/easyops/runtime/status"
)

// sessionCookie is what the browser that was let in shows. Browsers send cookies
// to all ports of a name, which is one reason why the name is nobody else's.
const sessionCookie = "easyops-open"

// door lets one browser in, that of who has started the program: it must show a
// secret that is good once, and from then on another that only it has.
//
// It keeps out web pages in the same browser (the Host, which they do not know;
// the Origin; the cookie, which is not sent from other sites), other users of the
// machine (the secrets, and on Linux who owns the connection), and whoever reads
// the URL later on. It does not keep out other programs of the same user, who
// could read the token itself.
type door struct {
	host   string // as browsers must write it, with the port
	token  string
	cookie string
	opened atomic.Bool
	owner  status.Authorizer
	leads  bool // also from a URL without a secret
}

func newDoor(port int, byAddress bool) *door {
	name := "127.0.0.1"
	if !byAddress {
		// Browsers take names under localhost for this machine, and for sites
		// of their own (RFC 6761, 6.3).
		name = "easyops-" + strings.ToLower(rand.Text()[:12]) + ".localhost"
	}
	return &door{host: name + ":" + strconv.Itoa(port), token: rand.Text(), cookie: rand.Text(), owner: status.LocalOperator()}
}

func (d *door) origin() string { return "http://" + d.host }

// url is what the browser must be given.
func (d *door) url() string { return d.origin() + "/?token=" + d.token }

// leadPath is that of a URL without a secret, which is by address.
const leadPath = "/lead"

func (d *door) leadHost() string { return "127.0.0.1" + d.host[strings.LastIndex(d.host, ":"):] }

// leading is a URL that may stand in a command line. It leads a browser of the
// same user to the other one, where it is no page that asks for it.
func (d *door) leading() string { return "http://" + d.leadHost() + leadPath }

// refusal is why a request is not answered.
type refusal struct {
	code int
	text string
}

// guard lets through to h what comes from the browser that was let in.
func (d *door) guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if no := whole(r); no != nil {
			w.Header().Set("Connection", "close")
			explainTo(w, no.code, no.text)
			return
		}
		if d.leads && r.Host == d.leadHost() && r.URL.Path == leadPath {
			d.lead(w, r)
			return
		}
		if no := d.known(r, d.host); no != nil {
			explainTo(w, no.code, no.text)
			return
		}
		if r.URL.Path == "/" {
			d.enter(w, r)
			return
		}
		for _, check := range [...]func(*http.Request) *refusal{d.inside, d.sameOrigin, relayed} {
			if no := check(r); no != nil {
				explainTo(w, no.code, no.text)
				return
			}
		}
		h.ServeHTTP(w, r)
	})
}

// whole refuses requests of whose end two programs may have two opinions, so that
// what one takes for their rest is the next request of another (RFC 9112, 6.1).
// No browser sends them. The connection must end behind them.
func whole(r *http.Request) *refusal {
	if len(r.TransferEncoding) > 0 || !r.ProtoAtLeast(1, 1) {
		return &refusal{http.StatusLengthRequired, "this is for HTTP/1.1, without Transfer-Encoding"}
	}
	return nil
}

// lead sends a browser to the URL with the secrets. It does so only where the
// browser says that its user, or another program of his, wants it: pages of other
// sites cannot have that said. The browser does not tell them where it got to.
func (d *door) lead(w http.ResponseWriter, r *http.Request) {
	no := d.known(r, d.leadHost())
	switch h := r.Header; {
	case no != nil:
	case r.Method != http.MethodGet, h.Get("Sec-Fetch-Site") != "none", h.Get("Sec-Fetch-Mode") != "navigate", h.Get("Sec-Fetch-Dest") != "document":
		no = &refusal{http.StatusForbidden, "open the URL that easyops open printed"}
	case d.opened.Load():
		no = &refusal{http.StatusForbidden, "a browser was let in already: run easyops open again"}
	default:
		careful(w.Header())
		http.Redirect(w, r, d.url(), http.StatusSeeOther)
		return
	}
	explainTo(w, no.code, no.text)
}

// known refuses what is not for a name, not of this user, or no plain request.
func (d *door) known(r *http.Request, host string) *refusal {
	if r.URL.IsAbs() || r.URL.Host != "" || !strings.HasPrefix(r.RequestURI, "/") {
		return &refusal{http.StatusBadRequest, "this is no proxy: ask for a path"}
	}
	if r.Host != host {
		return &refusal{http.StatusForbidden, "this is not the name in the URL that easyops open printed"}
	}
	local := r.Clone(r.Context())
	local.Host = "localhost" // which both are
	if err := status.FromThisMachine(local); err != nil {
		return &refusal{http.StatusForbidden, err.Error()}
	}
	if _, err := d.owner(local); err != nil {
		return &refusal{http.StatusForbidden, "this is for the user who runs easyops open: " + err.Error()}
	}
	return nil
}

// enter takes the token, once, for a cookie. The answer is a page and not a
// redirect: browsers do not send the cookie, which is strict, with one that
// another program or page has led to.
func (d *door) enter(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		explainTo(w, http.StatusMethodNotAllowed, "the URL that easyops open printed is for a browser, by GET")
		return
	}
	if byPage(r) {
		explainTo(w, http.StatusForbidden, foreign) // and the token stays good
		return
	}
	switch given := r.URL.Query().Get("token"); {
	case !same(given, d.token):
		if d.inside(r) == nil {
			http.Redirect(w, r, "/internal/", http.StatusSeeOther)
			return
		}
		explainTo(w, http.StatusForbidden, "this needs the URL that easyops open printed")
		return
	case !d.opened.CompareAndSwap(false, true):
		if d.inside(r) == nil {
			break // the same browser, again
		}
		explainTo(w, http.StatusForbidden, "this URL was used already, and is good once: run easyops open again")
		return
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: d.cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
	careful(w.Header())
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, entrance)
}

const entrance = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="refresh" content="0; url=/internal/">
<title>easyops open</title>
<p><a href="/internal/">To the status pages</a></p>
`

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// inside wants the cookie.
func (d *door) inside(r *http.Request) *refusal {
	cookies := r.CookiesNamed(sessionCookie)
	if len(cookies) == 1 && same(cookies[0].Value, d.cookie) {
		return nil
	}
	return &refusal{http.StatusForbidden, "this browser was not let in: open the URL that easyops open printed"}
}

// foreign is what another web page that has caused a request is told.
const foreign = "a web page of another site sent this request"

// byPage tells whether a page of another site asks behind its user's back, and
// not by leading him somewhere, as a terminal in a browser does.
func byPage(r *http.Request) bool {
	h := r.Header
	switch h.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return false
	}
	return h.Get("Sec-Fetch-Mode") != "navigate" || h.Get("Sec-Fetch-Dest") != "document"
}

// sameOrigin refuses what other web pages have caused.
func (d *door) sameOrigin(r *http.Request) *refusal {
	for _, site := range r.Header.Values("Sec-Fetch-Site") {
		if site != "same-origin" && site != "none" {
			return &refusal{http.StatusForbidden, foreign}
		}
	}
	origins := r.Header.Values("Origin")
	for _, origin := range origins {
		if origin != d.origin() {
			return &refusal{http.StatusForbidden, foreign}
		}
	}
	if r.Method == http.MethodPost && len(origins) == 0 { // all browsers send it
		return &refusal{http.StatusForbidden, "the request does not say which page sent it (Origin)"}
	}
	return nil
}

// relayed refuses what is no request for a status page.
func relayed(r *http.Request) *refusal {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		return &refusal{http.StatusMethodNotAllowed, fmt.Sprintf("%.20q is not answered here", r.Method)}
	}
	p := r.URL.Path
	clean := r.URL.RawPath == "" && !strings.ContainsAny(p, "\\\x00") && (path.Clean(p) == p || path.Clean(p)+"/" == p)
	if !clean || p != "/internal" && p != "/metrics" && !strings.HasPrefix(p, "/internal/") {
		return &refusal{http.StatusNotFound, "only the status pages are here: /internal/ is the first of them"}
	}
	return nil
}
