package edgeattack

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
	_ "github.com/go-easyops/easyops/runtime/registry/local" // local: URLs
	"github.com/go-easyops/easyops/test/edge/run"
	"github.com/go-easyops/easyops/test/issue"
	"github.com/go-easyops/easyops/test/serve"
)

// front is what is attacked, and the backend behind it.
type front struct {
	name string
	addr string
	tls  *tls.Config // nil: plaintext
	back *recorder
}

// dial opens a raw connection, over TLS with the protocols where the front has it.
func (f *front) dial(protocols ...string) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", f.addr, patience)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	if f.tls == nil {
		return conn, nil
	}
	cfg := f.tls.Clone()
	cfg.ServerName, cfg.NextProtos = "localhost", protocols
	return tls.Client(conn, cfg), nil
}

// send sends bytes on a connection of its own and returns all that is answered
// until the other side ends it, or until nothing has come for a moment.
func (f *front) send(t *testing.T, sent string) (answer string) {
	t.Helper()
	conn, err := f.dial("http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, sent) }() // who answers early reads no more
	buf := make([]byte, 64<<10)
	for wait := 2 * time.Second; ; wait = settling {
		_ = conn.SetReadDeadline(time.Now().Add(wait))
		n, err := conn.Read(buf)
		answer += string(buf[:n])
		if err != nil {
			return answer
		}
	}
}

// settling is how long an answer may pause.
const settling = 60 * time.Millisecond

var victims atomic.Int64

// victim is a proper request, which must be answered as such. What reached the
// backend before it is returned.
func (f *front) victim(t *testing.T) (raw string, requests []recorded, faults []string) {
	t.Helper()
	raw, requests, faults = f.back.take()
	id := fmt.Sprintf("victim-%d", victims.Add(1))
	answer := f.send(t, "GET /victim HTTP/1.1\r\nHost: "+f.host()+"\r\nX-Id: "+id+"\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(answer, "HTTP/1.1 200 ") || !strings.HasSuffix(answer, "GET /victim "+id) {
		t.Errorf("a proper request after it was answered %q", answer)
	}
	more, also, faulty := f.back.take()
	for i, r := range also {
		if r.target == "/victim" && r.header.Get("X-Id") == id {
			also = append(also[:i], also[i+1:]...)
			break
		}
	}
	return raw + more, append(requests, also...), append(faults, faulty...)
}

func (f *front) host() string { return strings.Replace(f.addr, "127.0.0.1", "localhost", 1) }

// behind is a registry of the test's own, and backends in it.
type behind struct {
	url  string
	reg  registry.Registry
	back *recorder
}

func newBehind(t *testing.T) *behind {
	t.Helper()
	b := &behind{url: "local:" + filepath.Join(t.TempDir(), "registry"), back: newRecorder(t)}
	reg, err := registry.Open(b.url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close() })
	b.reg = reg
	b.list(t, "page", registry.KindHTTP, b.back.addr)
	return b
}

// list registers an instance.
func (b *behind) list(t *testing.T, service string, kind registry.Kind, addr string) {
	t.Helper()
	lease, err := b.reg.Register(t.Context(), []registry.Instance{{
		ID: registry.NewID(), Service: service, Addr: addr, Kinds: []registry.Kind{kind}, Health: registry.Ready, Started: time.Now(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lease.Close(context.Background()) })
}

// routes lead to everything behind, for everyone; /members/ and the service of
// members are for those who prove who they are.
const routes = `
http:
  - {path: /, service: page, allow: EVERYONE}
  - {path: /members/, service: page}
`

// startEdge starts an edge that wants tokens, over TLS or in plaintext, with more
// routes beside the usual ones.
func startEdge(t *testing.T, b *behind, more string, secure bool, keys string) (*front, *run.Edge) {
	t.Helper()
	return startEdgeWith(t, b, routes+more, secure, keys)
}

func startEdgeWith(t *testing.T, b *behind, text string, secure bool, keys string) (*front, *run.Edge) {
	t.Helper()
	flags := []string{"-easyops.registry=" + b.url, "-easyops.auth=jwks:" + filepath.Join(keys, "jwks.json") + "?issuer=easyops-users&audience=edge.test"}
	f := &front{name: "edge", back: b.back}
	if secure {
		certs := serve.NewCerts(t)
		text += fmt.Sprintf("tls: [{cert: %q, key: %q}]\n", certs.Cert, certs.Key)
		f.name, f.tls = "edge, TLS", &tls.Config{RootCAs: certs.Pool}
	}
	e := run.Start(t, text, flags...)
	f.addr = e.Addr
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s: %s", f.name, tail(e.Log()))
		}
	})
	return f, e
}

// newKeys makes the keys of an issuer, and a token of alice's.
func newKeys(t *testing.T) (dir, token string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "keys")
	issue.Easyops(t, "keys", "new", dir)
	return dir, issue.Easyops(t, "token", "--keys="+dir, "--audience=edge.test", "--user=alice")
}

// startNaive is the control: net/http's reverse proxy as it is used most, which
// adds to what it is sent.
func startNaive(t *testing.T) *front {
	t.Helper()
	back := newRecorder(t)
	to := &url.URL{Scheme: "http", Host: back.addr}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	s := &http.Server{Handler: proxy, Protocols: new(http.Protocols), ErrorLog: proxy.ErrorLog}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return &front{name: "net/http's proxy", addr: l.Addr().String(), back: back}
}

// startSplice is a control that forwards bytes: what a backend sees where nobody
// looks at requests.
func startSplice(t *testing.T) *front {
	t.Helper()
	back := newRecorder(t)
	return &front{name: "nothing in between", addr: back.addr, back: back}
}

// tail is the end of a log.
func tail(log string) string { return log[max(0, len(log)-4000):] }
