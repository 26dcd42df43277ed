package edgeattack

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// downgrade is a request over HTTP/2 that becomes another when it is written down
// as HTTP/1.1 without care.
type downgrade struct {
	name string
	kv   []string
	body string // "" for none
}

// in returns a proper request with some names and values behind the others.
func in(name, body string, more ...string) downgrade {
	return downgrade{name, append(pseudo("GET", "/a", "{host}"), more...), body}
}

func pseudo(method, path, authority string) []string {
	return []string{":method", method, ":scheme", "{scheme}", ":path", path, ":authority", authority}
}

// downgrades are such requests.
func downgrades() []downgrade {
	crlf := "a\r\nX-Id: " + canary + "\r\n\r\n" + hidden
	all := []downgrade{
		in("value with CRLF", "", "x-a", crlf),
		in("value with LF", "", "x-a", "a\nX-Id: "+canary),
		in("value with CR", "", "x-a", "a\rX-Id: "+canary),
		in("value with NUL", "", "x-a", "a\x00"+canary),
		in("name with CRLF", "", "x-a\r\nx-id", canary),
		in("name with a colon", "", "x-id: "+canary+"\r\nx-a", "b"),
		in("name with a space", "", "x id", canary),
		in("name in capitals", "", "X-Id", canary),
		in("empty name", "", "", canary),
		in("name with a bracket", "", "x(id", canary),
		in("transfer-encoding", "0\r\n\r\n"+hidden, "transfer-encoding", "chunked"),
		in("transfer-encoding with CRLF", "0\r\n\r\n"+hidden, "x-a", "b\r\nTransfer-Encoding: chunked"),
		in("content-length too small", hidden, "content-length", "0"),
		in("content-length too large", "a", "content-length", "500"),
		in("content-length twice", hidden, "content-length", "0", "content-length", fmt.Sprint(len(hidden))),
		in("content-length of letters", hidden, "content-length", "0a"),
		in("content-length with a plus", hidden, "content-length", fmt.Sprintf("+%d", len(hidden))),
		in("connection", "", "connection", "x-forwarded-for"),
		in("keep-alive", "", "keep-alive", "timeout="+canary),
		in("proxy-connection", "", "proxy-connection", canary),
		in("upgrade", "", "upgrade", "websocket", "x-a", "b"),
		in("te", "", "te", "chunked, "+canary),
		in("host beside :authority", "", "host", canary),
		in("two hosts", "", "host", "{host}", "host", canary),
		in(":path twice", "", ":path", "/internal/help"),
		in(":authority last", "", ":authority", canary),
		in("unknown pseudo-header", "", ":x-id", canary),
		in(":protocol", "", ":protocol", "websocket"),
		in(":status", "", ":status", "200"),
	}
	for name, kv := range map[string][]string{
		":method with CRLF":         pseudo("GET /a HTTP/1.1\r\nX-Id: "+canary+"\r\n\r\nGET", "/a", "{host}"),
		":method with a space":      pseudo("GET "+smuggled, "/a", "{host}"),
		":method that is empty":     pseudo("", "/a", "{host}"),
		":method CONNECT":           pseudo("CONNECT", "/a", "{host}"),
		":path with CRLF":           pseudo("GET", "/a HTTP/1.1\r\nX-Id: "+canary+"\r\n\r\n"+strings.TrimSuffix(hidden, "\r\n\r\n"), "{host}"),
		":path with a space":        pseudo("GET", "/a HTTP/1.1 "+canary, "{host}"),
		":path with a tab":          pseudo("GET", "/a\t"+canary, "{host}"),
		":path with NUL":            pseudo("GET", "/a\x00"+canary, "{host}"),
		":path with a fragment":     pseudo("GET", "/a#"+canary, "{host}"),
		":path that is empty":       pseudo("GET", "", "{host}"),
		":path without slash":       pseudo("GET", "internal/help", "{host}"),
		":path with a scheme":       pseudo("GET", "http://"+canary+"/internal/help", "{host}"),
		":path that is an asterisk": pseudo("GET", "*", "{host}"),
		":scheme with CRLF":         {":method", "GET", ":scheme", "http://" + canary + "/\r\nX-Id: a\r\n", ":path", "/a", ":authority", "{host}"},
		":scheme of a file":         {":method", "GET", ":scheme", "file", ":path", "/a", ":authority", "{host}"},
		":authority with CRLF":      pseudo("GET", "/a", "{host}\r\nX-Id: "+canary),
		":authority with a user":    pseudo("GET", "/a", canary+"@{host}"),
		":authority with a path":    pseudo("GET", "/a", "{host}/"+canary),
		":authority with a space":   pseudo("GET", "/a", "{host} "+canary),
		":authority that is empty":  pseudo("GET", "/a", ""),
		"no :authority, a host":     {":method", "GET", ":scheme", "{scheme}", ":path", "/a", "host", "{host}"},
		"no :path":                  {":method", "GET", ":scheme", "{scheme}", ":authority", "{host}"},
		"no :method":                {":scheme", "{scheme}", ":path", "/a", ":authority", "{host}"},
		":path behind a field":      {":method", "GET", ":scheme", "{scheme}", "x-a", "b", ":path", "/a", ":authority", "{host}"},
	} {
		all = append(all, downgrade{name, kv, ""})
	}
	return all
}

// caseField tells which of them a request at the backend was: one that was reset may
// arrive there when the next has been sent.
const caseField = "x-case"

// TestDowngrade sends them. Whatever reaches the backend is one proper request, to
// the host that was asked for.
func TestDowngrade(t *testing.T) {
	t.Parallel()
	keys, _ := newKeys(t)
	plaintext, _ := startEdge(t, newBehind(t), "", false, keys)
	secure, _ := startEdge(t, newBehind(t), "", true, keys)
	for _, f := range []*front{plaintext, secure} {
		answers, sent := map[string]int{}, map[string]int{}
		for _, d := range downgrades() {
			t.Run(f.name+"/"+d.name, func(t *testing.T) {
				kv := make([]string, len(d.kv), len(d.kv)+2)
				for i, s := range d.kv {
					kv[i] = strings.NewReplacer("{host}", f.host(), "{scheme}", f.scheme()).Replace(s)
				}
				kv = append(kv, caseField, d.name)
				var body []byte
				if d.body != "" {
					body = []byte(d.body)
				}
				answer := f.h2(t, body, kv...)
				answers[answer]++
				raw, requests, faults := f.victim(t)
				for _, r := range requests {
					sent[r.header.Get(caseField)]++
					f.judgeDowngrade(t, r)
				}
				if len(faults) > 0 || sent[""] > 0 || slices.Max(append(slices.Collect(maps.Values(sent)), 0)) > 1 {
					t.Errorf("answer %s, and the backend was sent %q (%q), by case %v", answer, raw, faults, sent)
				}
			})
		}
		t.Logf("%s: answers %v", f.name, answers)
	}
}

// judgeDowngrade looks at a request that has become one of HTTP/1.1. What was a part
// of the path may be in the path.
func (f *front) judgeDowngrade(t *testing.T, r recorded) {
	t.Helper()
	host, forwarded := r.header["Host"], r.header["X-Forwarded-Host"]
	switch {
	case strings.Contains(fmt.Sprint(r.method, r.header, r.names), canary), strings.HasPrefix(r.target, smuggled), isReserved(r.target) != "":
		t.Errorf("the backend heard %v", r)
	case len(host) != 1 || !slices.Equal(host, forwarded) || !properHost.MatchString(host[0]):
		t.Errorf("the backend heard Host %q and X-Forwarded-Host %q", host, forwarded)
	}
}

// TestDowngradeControl shows that the frames are proper ones where the request is:
// it reaches the backend, over the edge and over the control.
func TestDowngradeControl(t *testing.T) {
	t.Parallel()
	keys, _ := newKeys(t)
	edge, _ := startEdge(t, newBehind(t), "", true, keys)
	for _, f := range []*front{edge, startNaive(t)} {
		answer := f.h2(t, []byte("a body"), ":method", "POST", ":scheme", f.scheme(), ":path", "/a?b=c", ":authority", f.host(), "x-a", canary)
		raw, requests, faults := f.back.take()
		if answer != "200" || len(requests) != 1 || requests[0].body != "a body" || !strings.Contains(raw, canary) || len(faults) > 0 {
			t.Errorf("%s: answer %s, and the backend was sent %q", f.name, answer, raw)
		}
	}
}

// TestFramesThatAreNone has frames that end nowhere.
func TestFramesThatAreNone(t *testing.T) {
	t.Parallel()
	keys, _ := newKeys(t)
	f, _ := startEdge(t, newBehind(t), "", true, keys)
	proper := block(":method", "POST", ":scheme", f.scheme(), ":path", "/a", ":authority", f.host())
	for name, write := range map[string]func(*http2.Framer){
		"CONTINUATION of another stream": func(fr *http2.Framer) {
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: proper})
			_ = fr.WriteContinuation(3, true, nil)
		},
		"DATA within a header block": func(fr *http2.Framer) {
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: proper})
			_ = fr.WriteData(1, true, []byte(hidden))
		},
		"pseudo-header in a trailer": func(fr *http2.Framer) {
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: proper, EndHeaders: true})
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(":path", smuggled), EndHeaders: true, EndStream: true})
		},
		"trailer with CRLF": func(fr *http2.Framer) {
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(":method", "POST", ":scheme", f.scheme(), ":path", "/a", ":authority", f.host(), "trailer", "x-a"), EndHeaders: true})
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block("x-a", "b\r\n\r\n"+hidden), EndHeaders: true, EndStream: true})
		},
		"even stream": func(fr *http2.Framer) {
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 2, BlockFragment: proper, EndHeaders: true, EndStream: true})
		},
		"stream 0": func(fr *http2.Framer) {
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 0, BlockFragment: proper, EndHeaders: true, EndStream: true})
		},
	} {
		answer := f.h2Frames(t, write)
		raw, _, faults := f.victim(t)
		if len(faults) > 0 || strings.Contains(raw, smuggled) {
			t.Errorf("%s: answer %s, and the backend was sent %q", name, answer, raw)
		}
	}
}
