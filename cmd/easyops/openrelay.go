package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
)

// maxBody is the most that goes to a server with a change, in bytes.
const maxBody = 64 << 10

// passed are the headers of a browser that go to the server. Nothing else does:
// no cookies, and nothing that says that there is somebody in between.
var passed = [...]string{
	"Accept", "Accept-Encoding", "Accept-Language", "Content-Type", "If-Modified-Since", "If-None-Match", "User-Agent",
}

// kept are the headers of a server that do not go to the browser: they ask it for
// passwords, or would change it beyond the answer.
var kept = [...]string{
	"Www-Authenticate", "Proxy-Authenticate", "Authentication-Info", "Set-Cookie", "Clear-Site-Data", "Alt-Svc", "Refresh", "Link",
	"Strict-Transport-Security", "Service-Worker-Allowed", "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials",
	"Report-To", "Reporting-Endpoints", "Nel", "Server",
}

// relay asks the server what a browser asks, with who the operator is. It hands on
// what comes as it comes: profiles last, and pages refresh themselves.
func relay(to *conn) http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite:        func(p *httputil.ProxyRequest) { to.rewrite(p) },
		ModifyResponse: func(r *http.Response) error { return to.trim(r) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			explainTo(w, http.StatusBadGateway, "easyops open does not reach the server: "+printable(to.explain(err).Error()))
		},
		Transport:     to.client.Transport,
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(slog.DiscardHandler, 0),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		proxy.ServeHTTP(final{w}, r)
	})
}

// final answers once: hints before an answer (1xx) are not handed on.
type final struct{ http.ResponseWriter }

// WriteHeader implements [http.ResponseWriter].
func (f final) WriteHeader(code int) {
	if code >= http.StatusOK {
		f.ResponseWriter.WriteHeader(code)
	}
}

// Unwrap lets [http.ResponseController] flush.
func (f final) Unwrap() http.ResponseWriter { return f.ResponseWriter }

// rewrite makes of a browser's request one of this program.
func (c *conn) rewrite(p *httputil.ProxyRequest) {
	p.SetURL(c.base())
	p.Out.Host = ""
	p.Out.Header = http.Header{}
	for _, name := range passed {
		if values := p.In.Header.Values(name); len(values) > 0 {
			p.Out.Header[name] = values
		}
	}
	if p.In.Header.Get("Origin") != "" { // the guard has seen that it is ours
		p.Out.Header.Set("Origin", c.base().String())
	}
	if err := c.sign(p.Out.Header); err != nil {
		p.Out.Header.Del("Authorization")
	}
}

// fence is what an answer may do in the browser at most, whatever the server says
// of it besides: ask this program, and no other on this machine.
const fence = "default-src 'self' 'unsafe-inline' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'; worker-src 'none'"

// trim takes out of an answer what is not for the browser. A redirect stays on the
// server or is none.
func (c *conn) trim(r *http.Response) error {
	if r.StatusCode < http.StatusOK {
		return fmt.Errorf("it answers with %d", r.StatusCode)
	}
	for _, name := range kept {
		r.Header.Del(name)
	}
	r.Header.Add("Content-Security-Policy", fence)
	r.Header.Set("Cross-Origin-Resource-Policy", "same-origin")
	r.Header.Set("X-Content-Type-Options", "nosniff")
	if where := r.Header.Get("Location"); where != "" {
		r.Header.Del("Location")
		if path, ok := c.onServer(r.Request.URL, where); ok {
			r.Header.Set("Location", path)
		}
	}
	return nil
}

// onServer is the path of a redirect, if it leads to the same server.
func (c *conn) onServer(from *url.URL, where string) (path string, ok bool) {
	u, err := from.Parse(where)
	if err != nil || u.Scheme != from.Scheme || u.Host != from.Host || u.User != nil || !strings.HasPrefix(u.Path, "/internal") {
		return "", false
	}
	return u.RequestURI(), true
}
