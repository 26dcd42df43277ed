package edgeattack

import (
	"fmt"
	"strings"
	"testing"
)

// ways are the ways to ask for a target. The control must let some of each pass.
var ways = []struct {
	name string
	ask  func(t *testing.T, f *front, target string) (status string)
}{
	{"GET", func(t *testing.T, f *front, target string) string {
		return statusOf(f.send(t, "GET "+target+" HTTP/1.1\r\nHost: "+f.host()+"\r\nConnection: close\r\n\r\n"))
	}},
	{"POST, HTTP/1.0", func(t *testing.T, f *front, target string) string {
		return statusOf(f.send(t, "POST "+target+" HTTP/1.0\r\nHost: "+f.host()+"\r\nContent-Length: 0\r\n\r\n"))
	}},
	{"upgrade", func(t *testing.T, f *front, target string) string {
		return statusOf(f.send(t, "GET "+target+" HTTP/1.1\r\nHost: "+f.host()+
			"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"+
			"GET /next HTTP/1.1\r\nHost: "+f.host()+"\r\nConnection: close\r\n\r\n"))
	}},
	{"HTTP/2", func(t *testing.T, f *front, target string) string {
		return f.h2(t, nil, ":method", "GET", ":scheme", f.scheme(), ":path", target, ":authority", f.host())
	}},
	{"HTTP/2, with a body", func(t *testing.T, f *front, target string) string {
		return f.h2(t, []byte("body"), ":method", "PUT", ":scheme", f.scheme(), ":path", target, ":authority", f.host())
	}},
}

// statusOf is the status line of an answer without its protocol.
func statusOf(answer string) string {
	line, _, _ := strings.Cut(answer, "\r\n")
	if _, status, ok := strings.Cut(line, " "); ok {
		return status
	}
	return fmt.Sprintf("closed (%.20q)", answer)
}

// TestReservedPaths asks for the pages of the services behind the edge in all
// spellings and ways. None reaches a backend.
func TestReservedPaths(t *testing.T) {
	t.Parallel()
	b, naive := newBehind(t), startNaive(t)
	keys, _ := newKeys(t)
	plaintext, _ := startEdge(t, b, "", false, keys)
	secure, _ := startEdge(t, newBehind(t), "", true, keys)
	all := spellings()
	for _, f := range []*front{plaintext, secure, naive} {
		for _, way := range ways {
			if f == secure && !full && way.name != "GET" && way.name != "HTTP/2" {
				continue
			}
			t.Run(f.name+"/"+way.name, func(t *testing.T) {
				reached, answers := 0, map[string]int{}
				for _, s := range all {
					answers[way.ask(t, f, strings.ReplaceAll(s.target, "{host}", f.host()))]++
					_, requests, faults := f.back.take()
					for _, r := range requests {
						reading := isReserved(r.target)
						if reading == "" {
							continue
						}
						reached++
						if f != naive {
							t.Errorf("%s: %q reached the backend as %q, which may be read as %q", s.name, s.target, r.target, reading)
						}
					}
					if f != naive && len(faults) > 0 {
						t.Errorf("%s: the backend was sent %q", s.name, faults)
					}
				}
				f.victim(t)
				t.Logf("%d spellings: %d reached the backend; answers: %v", len(all), reached, answers)
				if f == naive && reached < len(all)/2 {
					t.Errorf("only %d spellings pass a proxy that stops none", reached)
				}
			})
		}
	}
}

// TestPathsThatPass is the other side: what only looks like a reserved path
// reaches the backend, byte for byte.
func TestPathsThatPass(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	keys, _ := newKeys(t)
	f, _ := startEdge(t, b, "", false, keys)
	for _, target := range harmless {
		for _, way := range ways {
			status := way.ask(t, f, target)
			_, requests, faults := b.back.take()
			if len(requests) == 0 || len(requests) > 1 && requests[1].target != "/next" || requests[0].target != target || len(faults) > 0 || !strings.HasPrefix(status, "200") {
				t.Errorf("%s %s: %s, and the backend heard %v %q", way.name, target, status, requests, faults)
			}
		}
	}
}
