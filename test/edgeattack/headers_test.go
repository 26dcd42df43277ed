package edgeattack

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// forged are headers that a backend may believe, as if a proxy had set them.
var forged = []string{
	"Forwarded", "Via", "X-Real-Ip", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port",
	"X-Forwarded-Server", "X-Forwarded-Prefix", "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups",
	"X-Forwarded-Client-Cert", "X-Forwarded-Access-Token", "X-Forwarded-Preferred-Username", "X-Forwarded-Scheme", "X-Forwarded-Ssl",
	"X-Remote-User", "X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-User", "X-Auth-Roles",
	"Easyops-User", "Easyops-Service", "Easyops-Service-Authorization", "Easyops-Anything",
}

// spelled are other ways to write a header, which some servers read as the same:
// CGI and what comes from it takes "_" for "-".
func spelled(name string) []string {
	return []string{
		name, strings.ToLower(name), strings.ToUpper(name), strings.ReplaceAll(name, "-", "_"),
		strings.Replace(strings.ToLower(name), "-", "_", 1),
	}
}

// requests that carry one header, and what an HTTP/1.1 client may do to have the
// proxy take away one of its own.
var carriers = []struct {
	name string
	send func(t *testing.T, f *front, header, value string) string
}{
	{"HTTP/1.1", func(t *testing.T, f *front, header, value string) string {
		return statusOf(f.send(t, "GET /a HTTP/1.1\r\nHost: "+f.host()+"\r\n"+header+": "+value+"\r\nConnection: close\r\n\r\n"))
	}},
	{"twice", func(t *testing.T, f *front, header, value string) string {
		return statusOf(f.send(t, "GET /a HTTP/1.1\r\n"+header+": "+value+"\r\nHost: "+f.host()+"\r\nConnection: close\r\n"+header+": "+value+"\r\n\r\n"))
	}},
	{"named by Connection", func(t *testing.T, f *front, header, value string) string {
		return statusOf(f.send(t, "GET /a HTTP/1.1\r\nHost: "+f.host()+"\r\n"+header+": "+value+
			"\r\nConnection: close, X-Forwarded-For, x-forwarded-host\r\nConnection: X-Forwarded-Proto, Host, "+header+"\r\n\r\n"))
	}},
	{"trailer", func(t *testing.T, f *front, header, value string) string {
		return statusOf(f.send(t, "POST /a HTTP/1.1\r\nHost: "+f.host()+"\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nTrailer: "+header+
			"\r\nConnection: close\r\n\r\n1\r\na\r\n0\r\n"+header+": "+value+"\r\n\r\n"))
	}},
	{"trailer that was not announced", func(t *testing.T, f *front, header, value string) string {
		return statusOf(f.send(t, "POST /a HTTP/1.1\r\nHost: "+f.host()+"\r\nTransfer-Encoding: chunked\r\n"+
			"Connection: close\r\n\r\n1\r\na\r\n0\r\n"+header+": "+value+"\r\n\r\n"))
	}},
	{"HTTP/2", func(t *testing.T, f *front, header, value string) string {
		return f.h2(t, nil, append(f.pseudo("/a", f.host()), strings.ToLower(header), value)...)
	}},
	{"HTTP/2, trailer", func(t *testing.T, f *front, header, value string) string {
		return f.h2Frames(t, func(fr *http2.Framer) {
			head := append(f.pseudo("/a", f.host()), "trailer", strings.ToLower(header))
			head[1] = "POST"
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(head...), EndHeaders: true})
			_ = fr.WriteData(1, false, []byte("a"))
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(strings.ToLower(header), value), EndHeaders: true, EndStream: true})
		})
	}},
}

// TestForgedHeaders sends headers that only a proxy may set. None of their values
// reaches the backend; the ones of the edge do.
func TestForgedHeaders(t *testing.T) {
	t.Parallel()
	keys, _ := newKeys(t)
	f, _ := startEdge(t, newBehind(t), "", false, keys)
	secure, _ := startEdge(t, newBehind(t), "", true, keys)
	naive := startNaive(t)
	for _, f := range []*front{f, secure, naive} {
		for _, c := range carriers {
			t.Run(f.name+"/"+c.name, func(t *testing.T) {
				passed, sent := 0, 0
				for _, name := range forged {
					headers := spelled(name)
					if f == secure && !full {
						headers = headers[:1]
					}
					for _, header := range headers {
						answer := c.send(t, f, header, canary)
						raw, requests, faults := f.back.take()
						if sent++; strings.Contains(raw, canary) {
							passed++
						}
						if f == naive {
							continue
						}
						if strings.Contains(raw, canary) {
							t.Errorf("%s reached the backend: %q", header, raw)
						}
						f.checkForwarded(t, header, answer, requests, faults)
					}
				}
				t.Logf("%d of %d passed", passed, sent)
				if f == naive && passed == 0 && !strings.Contains(c.name, "trailer") && !strings.Contains(c.name, "Connection") {
					t.Error("nothing passed a proxy that stops nothing")
				}
			})
		}
	}
}

// checkForwarded wants what reached the backend to say where it comes from.
func (f *front) checkForwarded(t *testing.T, header, answer string, requests []recorded, faults []string) {
	t.Helper()
	if len(requests) != 1 || len(faults) > 0 {
		if !strings.HasPrefix(answer, "4") {
			t.Errorf("%s: answer %s, and the backend heard %v %q", header, answer, requests, faults)
		}
		return
	}
	h := requests[0].header
	for name, want := range map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": f.host(), "X-Forwarded-Proto": f.scheme(), "Host": f.host()} {
		if got := h[name]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s: the backend heard %s %q, want %q", header, name, got, want)
		}
	}
}

// TestIdentityAtTheEdge asks for what is for those who prove who they are.
func TestIdentityAtTheEdge(t *testing.T) {
	t.Parallel()
	keys, token := newKeys(t)
	b := newBehind(t)
	f, _ := startEdge(t, b, "", false, keys)
	tampered := token[:len(token)-8] + strings.Repeat("A", 8)
	for _, c := range []struct {
		name, headers string
		pass          bool
	}{
		{"nothing", "", false},
		{"no token", "Authorization: Bearer \r\n", false},
		{"a token of nobody's", "Authorization: Bearer " + tampered + "\r\n", false},
		{"basic", "Authorization: Basic YWxpY2U6YWxpY2U=\r\n", false},
		{"two tokens, a good one first", "Authorization: Bearer " + token + "\r\nAuthorization: Bearer " + tampered + "\r\n", false},
		{"two tokens, a good one last", "Authorization: Bearer " + tampered + "\r\nAuthorization: Bearer " + token + "\r\n", false},
		{"two in one", "Authorization: Bearer " + tampered + ", Bearer " + token + "\r\n", false},
		{"in a cookie", "Cookie: authorization=" + token + "\r\n", false},
		{"as that of a service", "Easyops-Service-Authorization: Bearer " + token + "\r\n", false},
		{"forged headers", strings.Join(forged, ": alice\r\n") + ": alice\r\n", false},
		{"in a trailer", "Transfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n0\r\nAuthorization: Bearer " + token + "\r\n", false},
		{"a good token", "Authorization: Bearer " + token + "\r\n", true},
		{"a good token and forged headers", "Authorization: Bearer " + token + "\r\n" + strings.Join(forged[:len(forged)-4], ": "+canary+"\r\n") + ": " + canary + "\r\n", true},
	} {
		for _, target := range []string{"/members/a", "/members", "/members/../members/a", "/members%2fa", "/%6dembers/a", "//members/a", `/members\a`, "/./members/a", "/MEMBERS/../members/a"} {
			answer := statusOf(f.send(t, "POST "+target+" HTTP/1.1\r\nHost: "+f.host()+"\r\nConnection: close\r\n"+c.headers+"\r\n"))
			raw, requests, faults := b.back.take()
			reached := 0
			for _, r := range requests {
				for reading := range readings(r.target) {
					if reading == "/members" || strings.HasPrefix(reading, "/members/") {
						reached++
						break
					}
				}
			}
			what := fmt.Sprintf("%s, %s: answer %s, and the backend heard %v %q", c.name, target, answer, requests, faults)
			switch {
			case strings.Contains(raw, canary) || len(faults) > 0:
				t.Error(what)
			case !c.pass && reached > 0:
				t.Error(what)
			case c.pass && (target == "/members/a" || target == "/members") && (reached != 1 || !slices.Equal(requests[0].header["Authorization"], []string{"Bearer " + token})):
				t.Errorf("%s; it must hear the token", what)
			}
		}
	}
	f.victim(t)
}

// TestConnectionNamesAuthorization has the proxy take the token away that it has
// verified. Then the caller is nobody to the backend, and nobody else.
func TestConnectionNamesAuthorization(t *testing.T) {
	t.Parallel()
	keys, token := newKeys(t)
	b := newBehind(t)
	f, _ := startEdge(t, b, "", false, keys)
	answer := f.send(t, "GET /members/a HTTP/1.1\r\nHost: "+f.host()+"\r\nAuthorization: Bearer "+token+"\r\nConnection: close, authorization\r\n\r\n")
	_, requests, faults := b.back.take()
	if len(faults) > 0 || len(requests) > 1 || len(requests) == 1 && len(requests[0].header["Authorization"]) > 0 && requests[0].header.Get("Authorization") != "Bearer "+token {
		t.Errorf("answer %s, and the backend heard %v %q", statusOf(answer), requests, faults)
	}
}
