// Package routes lists every page of a server, from its own help page, so that
// tests cover the pages that there are and not those that somebody remembered.
package routes

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Route is a page of a server.
type Route struct {
	Path    string   `json:"path"` // with the wildcards of http.ServeMux
	Methods []string `json:"methods"`
	Access  string   `json:"access"` // as declared: everyone, operator or metrics
	// Linked says that the page is not on the help page; others link to it. Its
	// access is not declared there, so Access is empty.
	Linked bool `json:"-"`
	// Shown says that it is a page for people: HTML in a browser.
	Shown bool `json:"-"`
}

// Concrete is the path with a name in place of a wildcard.
func (r Route) Concrete(name string) string {
	return regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(r.Path, name)
}

// Answers tells whether the page answers a method.
func (r Route) Answers(method string) bool { return slices.Contains(r.Methods, method) }

// Get fetches a path as an operator.
type Get func(path, accept string) (code int, body string, err error)

// ByClient makes a Get of a client and the address of a server, such as
// "http://127.0.0.1:4100". The header says who asks.
func ByClient(client *http.Client, base string, header http.Header) Get {
	return func(path, accept string) (int, string, error) {
		req, err := http.NewRequest(http.MethodGet, base+path, nil)
		if err != nil {
			return 0, "", err
		}
		for name, values := range header {
			req.Header[name] = values
		}
		req.Header.Set("Accept", accept)
		resp, err := client.Do(req)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body), err
	}
}

// Of lists the pages of a server: those of the help page, those that the pages
// of the help page link to (styles, icons and scripts are such), and /internal.
func Of(get Get) ([]Route, error) {
	code, body, err := get("/internal/help", "application/json")
	if err != nil || code != http.StatusOK {
		return nil, fmt.Errorf("help page: %d %w: %s", code, err, body)
	}
	var help struct {
		Pages []Route `json:"pages"`
	}
	if err := json.Unmarshal([]byte(body), &help); err != nil {
		return nil, fmt.Errorf("help page: %w", err)
	}
	all := append(help.Pages, Route{Path: "/internal", Methods: []string{http.MethodGet}, Linked: true})
	for i := 0; i < len(all); i++ { // linked pages may link others
		if strings.Contains(all[i].Path, "{") || slices.Contains(Slow, all[i].Path) {
			continue
		}
		code, body, err := get(all[i].Path, "text/html")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", all[i].Path, err)
		}
		if !strings.HasPrefix(body, "<!doctype html>") || code != http.StatusOK && code != http.StatusMethodNotAllowed {
			continue
		}
		all[i].Shown = true
		for _, path := range Links(body, all[i].Path) {
			if !slices.ContainsFunc(all, func(r Route) bool { return r.matches(path) }) {
				all = append(all, Route{Path: path, Methods: []string{http.MethodGet}, Linked: true})
			}
		}
	}
	return all, nil
}

// Slow are pages that take their time.
var Slow = []string{"/internal/debug/cpu", "/internal/debug/profile", "/internal/debug/trace"}

func (r Route) matches(path string) bool {
	if r.Path == path {
		return true
	}
	prefix, _, ok := strings.Cut(r.Path, "{")
	return ok && strings.HasPrefix(path, prefix) && len(path) > len(prefix)
}

var link = regexp.MustCompile(`(?:href|src|action)="([^"]*)"`)

// Links are the paths of this server that an HTML page links to, without what
// follows "?" or "#".
func Links(html, from string) (paths []string) {
	base := &url.URL{Path: from}
	for _, m := range link.FindAllStringSubmatch(html, -1) {
		u, err := url.Parse(strings.ReplaceAll(m[1], "&amp;", "&"))
		if err != nil || u.Scheme != "" || u.Host != "" {
			continue
		}
		if path := base.ResolveReference(u).Path; !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	return paths
}
