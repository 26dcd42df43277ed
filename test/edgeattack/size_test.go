package edgeattack

import (
	"strings"
	"testing"
)

// TestOversized sends heads that are too large. None reaches the backend; the
// control lets them pass.
func TestOversized(t *testing.T) {
	t.Parallel()
	keys, _ := newKeys(t)
	plaintext, _ := startEdge(t, newBehind(t), "", false, keys)
	secure, _ := startEdge(t, newBehind(t), "", true, keys)
	long := strings.Repeat("a", 80_000)
	for _, f := range []*front{plaintext, secure, startNaive(t)} {
		passed := 0
		for name, send := range map[string]func() string{
			"header":         func() string { return f.get(t, "/a", "X-A: "+long+"\r\n") },
			"many headers":   func() string { return f.get(t, "/a", strings.Repeat("X-A: bcdefghi\r\n", 6000)) },
			"cookie":         func() string { return f.get(t, "/a", "Cookie: a="+long+"\r\n") },
			"token":          func() string { return f.get(t, "/a", "Authorization: Bearer "+strings.Repeat(".", 80_000)+"\r\n") },
			"path":           func() string { return f.get(t, "/"+long, "") },
			"query":          func() string { return f.get(t, "/a?"+long, "") },
			"Host":           func() string { return f.get(t, "/a", "Host: "+long+"\r\n") },
			"method":         func() string { return statusOf(f.send(t, long+" /a HTTP/1.1\r\nHost: "+f.host()+"\r\n\r\n")) },
			"header, HTTP/2": func() string { return f.h2(t, nil, append(f.pseudo("/a", f.host()), "x-a", long)...) },
			"many, HTTP/2": func() string {
				return f.h2(t, nil, append(f.pseudo("/a", f.host()), strings.Split(strings.Repeat("x-a,bcdefghi,", 6000)[:6000*13-1], ",")...)...)
			},
			"path, HTTP/2":       func() string { return f.h2(t, nil, f.pseudo("/"+long, f.host())...) },
			":authority, HTTP/2": func() string { return f.h2(t, nil, f.pseudo("/a", long)...) },
		} {
			answer := send()
			_, requests, _ := f.back.take()
			passed += len(requests)
			if f.name != "net/http's proxy" && (len(requests) > 0 || strings.HasPrefix(answer, "2")) {
				t.Errorf("%s: %s: answer %s, and %d requests reached the backend", f.name, name, answer, len(requests))
			}
		}
		f.victim(t)
		if f.name == "net/http's proxy" && passed < 6 {
			t.Errorf("only %d pass a proxy with the limits of net/http", passed)
		}
	}
}

// get asks for a target and returns the status.
func (f *front) get(t *testing.T, target, headers string) string {
	t.Helper()
	return statusOf(f.send(t, "GET "+target+" HTTP/1.1\r\nHost: "+f.host()+"\r\n"+headers+"Connection: close\r\n\r\n"))
}

// pseudo are the pseudo-headers of a request.
func (f *front) pseudo(path, authority string) []string {
	return []string{":method", "GET", ":scheme", f.scheme(), ":path", path, ":authority", authority}
}
