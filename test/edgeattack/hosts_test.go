package edgeattack

import (
	"net/url"
	"strings"
	"testing"
)

// hostRoutes have a host for those who prove who they are beside one for
// everyone, and all others, in front of one service.
const hostRoutes = `
http:
  - {path: /, service: page, allow: EVERYONE}
  - {host: open.test, path: /, service: page, allow: EVERYONE}
  - {host: closed.test, path: /, service: page}
  - {host: "*.closed.test", path: /, service: page}
`

// isClosed tells whether a backend may take a host for closed.test, or for one
// below it: by case, with a port, a dot behind, a user before, encoded, or as the
// first or last of several.
func isClosed(host string) bool {
	decoded, err := url.PathUnescape(host)
	if err != nil {
		decoded = host
	}
	for _, part := range strings.FieldsFunc(strings.ToLower(decoded), func(r rune) bool { return strings.ContainsRune("@,/\\ \t#?;", r) }) {
		name, _, _ := strings.Cut(part, ":")
		name = strings.TrimRight(name, ".")
		if name == "closed.test" || strings.HasSuffix(name, ".closed.test") {
			return true
		}
	}
	return false
}

// TestHosts asks for the closed host without a token, in ways that a proxy and a
// backend may read as different hosts.
func TestHosts(t *testing.T) {
	t.Parallel()
	keys, token := newKeys(t)
	b := newBehind(t)
	f, _ := startEdgeWith(t, b, hostRoutes, false, keys)
	var hosts []string
	for _, name := range []string{"closed.test", "a.closed.test", "a.b.closed.test"} {
		hosts = append(hosts, name, strings.ToUpper(name), name+".", name+"..", name+":80", name+":", name+".:443", "a@"+name, "open.test@"+name, name+"@open.test",
			name+",open.test", "open.test,"+name, name+"/", name+"#", name+"?", name+"\\open.test", "open.test\\"+name, name+";", "%63losed.test", name+"%2e", name+"%00", " "+name, name+" ", name+"\t", name+" open.test")
	}
	for _, host := range hosts {
		for name, ask := range map[string]func() string{
			"Host": func() string { return f.send(t, "GET /a HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n") },
			"absolute form": func() string {
				return f.send(t, "GET http://"+host+"/a HTTP/1.1\r\nHost: open.test\r\nConnection: close\r\n\r\n")
			},
			"Host beside the form": func() string {
				return f.send(t, "GET http://open.test/a HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
			},
			"two Hosts": func() string {
				return f.send(t, "GET /a HTTP/1.1\r\nHost: open.test\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
			},
			"X-Forwarded-Host": func() string {
				return f.send(t, "GET /a HTTP/1.1\r\nHost: open.test\r\nX-Forwarded-Host: "+host+"\r\nConnection: close\r\n\r\n")
			},
			":authority":             func() string { return f.h2(t, nil, f.pseudo("/a", host)...) },
			"host beside :authority": func() string { return f.h2(t, nil, append(f.pseudo("/a", "open.test"), "host", host)...) },
			"host without :authority": func() string {
				return f.h2(t, nil, ":method", "GET", ":scheme", f.scheme(), ":path", "/a", "host", host)
			},
			":authority beside a host": func() string { return f.h2(t, nil, append(f.pseudo("/a", host), "host", "open.test")...) },
			"absolute :path":           func() string { return f.h2(t, nil, f.pseudo("http://"+host+"/a", "open.test")...) },
		} {
			answer := ask()
			_, requests, faults := b.back.take()
			for _, r := range requests {
				if isClosed(r.header.Get("Host")) || isClosed(r.header.Get("X-Forwarded-Host")) {
					t.Errorf("%s %q: answer %.30q, and the backend heard %v", name, host, answer, r)
				}
			}
			if len(faults) > 0 {
				t.Errorf("%s %q: the backend was sent %q", name, host, faults)
			}
		}
	}
	// With a token the closed host is served: the control.
	for _, host := range []string{"closed.test", "A.closed.test:80"} {
		answer := f.send(t, "GET /a HTTP/1.1\r\nHost: "+host+"\r\nAuthorization: Bearer "+token+"\r\nConnection: close\r\n\r\n")
		if _, requests, _ := b.back.take(); !strings.HasPrefix(answer, "HTTP/1.1 200 ") || len(requests) != 1 || !isClosed(requests[0].header.Get("Host")) {
			t.Errorf("%s with a token: %q, and the backend heard %v", host, answer, requests)
		}
	}
}
