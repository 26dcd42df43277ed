package edgeattack

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// hidden is the request that shapes hide in others. Where a proxy and a backend
// disagree on where a request ends, it comes out behind.
const hidden = "GET " + smuggled + " HTTP/1.1\r\nHost: localhost\r\nX-Id: " + canary + "\r\n\r\n"

// message is a request of HTTP/1.
type message struct{ name, sent string }

// bodied makes a POST with headers and a body.
func bodied(name, headers, body string) message {
	return message{name, "POST /a HTTP/1.1\r\nHost: {host}\r\n" + headers + "\r\n" + body}
}

// disagreements are requests of which it is not clear where they end, or what
// their headers are. The hidden request is body to one reader, and a request to
// another.
func disagreements() (all []message) {
	length := func(body string) string { return fmt.Sprintf("Content-Length: %d\r\n", len(body)) }
	chunked := "0\r\n\r\n" + hidden
	oneChunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(hidden), hidden)
	all = append(all,
		bodied("CL.TE", length(chunked)+"Transfer-Encoding: chunked\r\n", chunked),
		bodied("TE.CL", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", oneChunk),
		bodied("CL.CL, the first", "Content-Length: 0\r\n"+length(hidden), hidden),
		bodied("CL.CL, the last", length(hidden)+"Content-Length: 0\r\n", hidden),
		bodied("CL in one", "Content-Length: 0, 0\r\n", hidden),
		bodied("CL in one that differ", fmt.Sprintf("Content-Length: %d, 0\r\n", len(hidden)), hidden),
		bodied("CL with a plus", fmt.Sprintf("Content-Length: +%d\r\n", len(hidden)), hidden),
		bodied("CL with a minus", "Content-Length: -1\r\n", hidden),
		bodied("CL in hex", fmt.Sprintf("Content-Length: 0x%x\r\n", len(hidden)), hidden),
		bodied("CL with an underscore", "Content-Length: 1_0\r\n", hidden),
		bodied("CL with a letter", "Content-Length: 0a\r\n", hidden),
		bodied("CL empty", "Content-Length: \r\n", hidden),
		bodied("CL beyond 64 bits", "Content-Length: 18446744073709551616\r\n", hidden),
		bodied("CL in other digits", "Content-Length: \u0664\r\n", hidden),
		bodied("CL folded", "Content-Length:\r\n 0\r\n", hidden),
		bodied("CL behind a space", "Content-Length : 0\r\n"+length(hidden), hidden),
		bodied("CL with NUL", "Content-Length: 0\x00\r\n", hidden),
		bodied("CL behind a CR", "X-A: b\rContent-Length: "+fmt.Sprint(len(hidden))+"\r\n", hidden),
		bodied("CL behind a LF", "X-A: b\nContent-Length: "+fmt.Sprint(len(hidden))+"\r\nContent-Length: 0\r\n", hidden),
	)
	for _, coding := range []string{
		"xchunked", "chunked, identity", "identity, chunked", "identity", "chunked, chunked", "gzip, chunked", "chunked;q=1", "\"chunked\"",
		"'chunked'", "chunke\\d", "chunked,", ",chunked", "Chunked ", "\tchunked", "\vchunked", "chunked\v", "\x00chunked", "chun\x00ked", "cow",
		"chunked\r\n ", "\r\n chunked", "\r\n\tchunked", "chunked\u00a0", "\u00a0chunked", "\x85chunked", "trailers", "deflate",
	} {
		for name, value := range map[string]string{"TE.CL": "Content-Length: 4\r\n", "CL.TE": length(chunked), "TE alone": ""} {
			body := chunked
			if name == "TE.CL" {
				body = oneChunk
			}
			all = append(all, bodied(fmt.Sprintf("%s, %q", name, coding), value+"Transfer-Encoding: "+coding+"\r\n", body))
		}
	}
	for _, te := range []string{
		"Transfer-Encoding : chunked\r\n", "Transfer-Encoding\t: chunked\r\n", " Transfer-Encoding: chunked\r\n", "Transfer_Encoding: chunked\r\n",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
		"Transfer-Encoding: chunked\r\nTransfer-encoding: x\r\n", "X-A: b\nTransfer-Encoding: chunked\r\n", "X-A: b\rTransfer-Encoding: chunked\r\n",
		"X-A: b\r\n\rTransfer-Encoding: chunked\r\n", "Transfer-Encoding:\nchunked\r\n", "Transfer\x00-Encoding: chunked\r\n", "Foo: bar\r\n Transfer-Encoding: chunked\r\n",
		"Transfer-Encoding\r\n: chunked\r\n", ": x\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding\u2010: chunked\r\n",
	} {
		all = append(all,
			bodied(fmt.Sprintf("CL.TE, %q", te), length(chunked)+te, chunked),
			bodied(fmt.Sprintf("TE.CL, %q", te), "Content-Length: 4\r\n"+te, oneChunk))
	}
	return append(append(all, chunks()...), lines()...)
}

// chunks are bodies whose chunks are not as they should be.
func chunks() (all []message) {
	for name, body := range map[string]string{
		"size with 0x":               "0x0\r\n\r\n" + hidden,
		"size with a plus":           "+0\r\n\r\n" + hidden,
		"size with a minus":          "-0\r\n\r\n" + hidden,
		"size with a space":          " 0\r\n\r\n" + hidden,
		"size of 17 digits":          "00000000000000000\r\n\r\n" + hidden,
		"size beyond 64 bits":        "10000000000000000\r\n\r\n" + hidden,
		"size of nothing":            "\r\n\r\n" + hidden,
		"size with NUL":              "0\x00\r\n\r\n" + hidden,
		"LF behind the size":         "1\na\r\n0\r\n\r\n" + hidden,
		"LF behind the last size":    "0\n\r\n" + hidden,
		"LF behind both":             "0\n\n" + hidden,
		"CR behind the size":         "1\ra\r\n0\r\n\r\n" + hidden,
		"LF in an extension":         "1;a\nb\r\na\r\n0\r\n\r\n" + hidden,
		"LF ends an extension":       fmt.Sprintf("1;a\n%x\r\n%s", len(hidden), hidden) + "0\r\n\r\n",
		"CR in an extension":         "1;a\rb\r\na\r\n0\r\n\r\n" + hidden,
		"long extension":             "1;" + strings.Repeat("a", 70_000) + "\r\na\r\n0\r\n\r\n" + hidden,
		"chunk that is too short":    "5\r\na\r\n0\r\n\r\n" + hidden,
		"chunk that is too long":     "1\r\nabc\r\n0\r\n\r\n" + hidden,
		"no CRLF behind a chunk":     "1\r\na0\r\n\r\n" + hidden,
		"two bytes behind a chunk":   "1\r\naXX0\r\n\r\n" + hidden,
		"LF behind a chunk":          "1\r\na\n0\r\n\r\n" + hidden,
		"request in the trailer":     "0\r\n" + hidden,
		"trailer without colon":      "0\r\nGET " + smuggled + " HTTP/1.1\r\n\r\n" + hidden,
		"Content-Length in a traile": "0\r\nContent-Length: 500\r\n\r\n" + hidden,
		"folded trailer":             "0\r\nX-A: b\r\n c\r\n\r\n" + hidden,
		"trailer with LF":            "0\r\nX-A: b\nGET " + smuggled + " HTTP/1.1\r\n\r\n" + hidden,
	} {
		all = append(all, bodied("chunked: "+name, "Transfer-Encoding: chunked\r\n", body))
	}
	return all
}

// lines are messages whose lines are not as they should be.
func lines() []message {
	proper := "GET /a HTTP/1.1\r\nHost: {host}\r\n"
	return []message{
		{"LF for CRLF", "GET /a HTTP/1.1\nHost: {host}\nContent-Length: " + fmt.Sprint(len(hidden)) + "\n\n" + hidden},
		{"CR for CRLF", "GET /a HTTP/1.1\rHost: {host}\r\r" + hidden},
		{"LF in a value", proper + "X-A: b\n" + strings.ReplaceAll(hidden, "\r\n", "\n")},
		{"LF LF in a value", proper + "X-A: b\n\n" + hidden},
		{"CR in a value", proper + "X-A: b\rX-B: " + canary + "\r\n\r\n"},
		{"CR CR LF in a value", proper + "X-A: b\r\r\n\r\n"},
		{"NUL in a value", proper + "X-A: b\x00" + canary + "\r\n\r\n"},
		{"folded value", proper + "X-A: b\r\n X-Id: " + canary + "\r\n\r\n"},
		{"folded first", "GET /a HTTP/1.1\r\n Host: {host}\r\nHost: {host}\r\n\r\n"},
		{"space before the colon", proper + "X-A : " + canary + "\r\n\r\n"},
		{"name with a space", proper + "X A: " + canary + "\r\n\r\n"},
		{"name with a NUL", proper + "X\x00A: " + canary + "\r\n\r\n"},
		{"empty name", proper + ": " + canary + "\r\n\r\n"},
		{"no colon", proper + canary + "\r\n\r\n"},
		{"body of GET", "GET /a HTTP/1.1\r\nHost: {host}\r\nContent-Length: " + fmt.Sprint(len(hidden)) + "\r\n\r\n" + hidden},
		{"body of HEAD", "HEAD /a HTTP/1.1\r\nHost: {host}\r\nContent-Length: " + fmt.Sprint(len(hidden)) + "\r\n\r\n" + hidden},
		{"body of OPTIONS", "OPTIONS /a HTTP/1.1\r\nHost: {host}\r\nContent-Length: " + fmt.Sprint(len(hidden)) + "\r\n\r\n" + hidden},
		{"body of an upgrade", proper + "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: " + fmt.Sprint(len(hidden)) + "\r\n\r\n" + hidden},
		{"chunks in HTTP/1.0", "POST /a HTTP/1.0\r\nHost: {host}\r\nContent-Length: " + fmt.Sprint(len("0\r\n\r\n"+hidden)) + "\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n" + hidden},
		{"continue that is not waited for", "POST /a HTTP/1.1\r\nHost: {host}\r\nExpect: 100-continue\r\nContent-Length: " + fmt.Sprint(len(hidden)) + "\r\n\r\n" + hidden},
		{"continue of nothing", "GET /a HTTP/1.1\r\nHost: {host}\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n"},
		{"continue that is none", "POST /a HTTP/1.1\r\nHost: {host}\r\nExpect: y 100-continue\r\nContent-Length: " + fmt.Sprint(len(hidden)) + "\r\n\r\n" + hidden},
		{"request line in the path", "GET /a%20HTTP/1.1%0d%0aHost:%20x%0d%0a%0d%0aGET%20/b HTTP/1.1\r\nHost: {host}\r\n\r\n"},
		{"tab in the request line", "GET\t/a\tHTTP/1.1\r\nHost: {host}\r\n\r\n"},
		{"two spaces in the request line", "GET  /a  HTTP/1.1\r\nHost: {host}\r\n\r\n"},
		{"space in the path", "GET /a /b HTTP/1.1\r\nHost: {host}\r\n\r\n"},
		{"LF in the path", "GET /a\n/b HTTP/1.1\r\nHost: {host}\r\n\r\n"},
		{"method with a colon", "GET:/x /a HTTP/1.1\r\nHost: {host}\r\n\r\n"},
		{"HTTP/1.2", "GET /a HTTP/1.2\r\nHost: {host}\r\n\r\n"},
		{"HTTP/0.9", "GET /a\r\n\r\n" + hidden},
		{"HTTP/2.0 in a line", "GET /a HTTP/2.0\r\nHost: {host}\r\n\r\n"},
		{"no Host", "GET /a HTTP/1.1\r\n\r\n"},
		{"two Hosts", proper + "Host: " + canary + "\r\n\r\n"},
		{"two Hosts, one folded", "GET /a HTTP/1.1\r\nHost: {host}\r\n " + canary + "\r\n\r\n"},
		{"Host with a path", "GET /a HTTP/1.1\r\nHost: {host}/" + canary + "\r\n\r\n"},
		{"Host with a user", "GET /a HTTP/1.1\r\nHost: " + canary + "@{host}\r\n\r\n"},
		{"Host with a space", "GET /a HTTP/1.1\r\nHost: {host} " + canary + "\r\n\r\n"},
		{"Host with a comma", "GET /a HTTP/1.1\r\nHost: {host}," + canary + "\r\n\r\n"},
		{"Host and another in the line", "GET http://" + canary + "/internal/help HTTP/1.1\r\nHost: {host}\r\n\r\n"},
		{"CONNECT", "CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n" + hidden},
		{"CONNECT elsewhere", "CONNECT " + canary + ":80 HTTP/1.1\r\nHost: {host}\r\n\r\n" + hidden},
		{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: {host}\r\n\r\n"},
		{"asterisk by GET", "GET * HTTP/1.1\r\nHost: {host}\r\n\r\n"},
		{"preface behind a request", proper + "\r\n" + http2.ClientPreface},
		{"upgrade to h2c", proper + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"},
	}
}

// TestSmuggling sends requests that readers may disagree on. Whatever reaches the
// backend is a proper request in the strictest sense, and the hidden one never
// comes as a part of another; the next client gets its own answer.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	keys, _ := newKeys(t)
	plaintext, _ := startEdge(t, newBehind(t), "", false, keys)
	secure, _ := startEdge(t, newBehind(t), "", true, keys)
	for _, f := range []*front{plaintext, secure} {
		answers := map[string]int{}
		for _, m := range disagreements() {
			if f == secure && !full && strings.Contains(m.name, "TE alone") {
				continue
			}
			t.Run(f.name+"/"+m.name, func(t *testing.T) {
				answer := f.send(t, strings.ReplaceAll(m.sent, "{host}", f.host()))
				answers[statusOf(answer)]++
				raw, requests, faults := f.victim(t)
				f.judge(t, answer, raw, requests, faults)
			})
		}
		t.Logf("%s: answers %v", f.name, answers)
	}
}

// judge looks at what reached the backend. The hidden request may come in its own
// right, where nobody can take it for a part of the one before: then the edge has
// looked at it as at any other, and has answered both.
func (f *front) judge(t *testing.T, answer, raw string, requests []recorded, faults []string) {
	t.Helper()
	if len(faults) > 0 {
		t.Errorf("the backend was sent %q: %q", faults, raw)
	}
	whole := 0
	for _, r := range requests {
		if r.whole {
			whole++
		}
		if r.header.Get("X-Forwarded-For") != "127.0.0.1" {
			t.Errorf("a request that the edge has not looked at reached the backend: %q", raw)
		}
		if r.target != smuggled && (r.header.Get("X-Id") != "" || strings.Contains(strings.Join(r.names, ""), canary)) {
			t.Errorf("a header that is none reached the backend: %q", raw)
		}
		if host := r.header.Get("Host"); !properHost.MatchString(host) {
			t.Errorf("Host %q reached the backend", host)
		}
		if isReserved(r.target) != "" {
			t.Errorf("%q reached the backend", r.target)
		}
	}
	if answers := strings.Count(answer, "HTTP/1.1 200 ") + strings.Count(answer, "HTTP/1.0 200 "); whole > answers {
		t.Errorf("%d requests reached the backend, but %d were answered with 200: %v\n%.300q", whole, answers, requests, answer)
	}
}

// properHost is a name or an address, and a port or none.
var properHost = regexp.MustCompile(`^([0-9A-Za-z._~%-]+|\[[0-9a-fA-F:.]+\])(:[0-9]*)?$`)

// TestSmugglingControl shows that the recorder sees what the shapes hide, where
// nothing is in between.
func TestSmugglingControl(t *testing.T) {
	t.Parallel()
	f, faulty, hiddenSeen := startSplice(t), 0, 0
	for _, m := range disagreements() {
		f.send(t, strings.ReplaceAll(m.sent, "{host}", f.host()))
		raw, _, faults := f.back.take()
		if len(faults) > 0 {
			faulty++
		}
		if strings.Contains(raw, smuggled) || strings.Contains(raw, canary) {
			hiddenSeen++
		}
	}
	n := len(disagreements())
	t.Logf("of %d shapes %d are faults to the recorder", n, faulty)
	if faulty < n*3/4 || hiddenSeen < n*3/4 {
		t.Errorf("of %d shapes, the recorder finds fault with %d and sees what %d hide", n, faulty, hiddenSeen)
	}
}
