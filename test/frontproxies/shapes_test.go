//go:build real

package frontproxies

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/test/serve"
)

// heard is what the page says that it heard.
type heard struct {
	Host   string      `json:"host"`
	URI    string      `json:"uri"`
	Header http.Header `json:"header"`
}

// TestShapes sends a front what it should pass on, change or refuse.
func TestShapes(t *testing.T) {
	everywhere(t, func(t *testing.T, p proxy) {
		url := newRegistry(t)
		startBackends(t, 1, url)
		f := startFront(t, p, url)
		f.await(t)
		t.Run("reserved paths", f.testReserved)
		t.Run("headers", f.testHeaders)
		t.Run("websocket", f.testUpgrade)
		t.Run("no route", f.testNoRoute)
		t.Run("metadata", f.testMetadata)
	})
}

// answer is what came back.
type answer struct {
	code int
	text string
}

// raw sends the head of a request and returns the answer.
func (f *front) raw(t *testing.T, head string) answer {
	t.Helper()
	conn, err := tls.Dial("tcp", f.addr, &tls.Config{RootCAs: f.certs.Pool})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, head+"\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%q: %v", head, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("%q: %v", head, err)
	}
	return answer{resp.StatusCode, string(text)}
}

// hears sends a request that the page answers.
func (f *front) hears(t *testing.T, head string) (h heard) {
	t.Helper()
	if err := json.Unmarshal([]byte(f.raw(t, head).text), &h); err != nil {
		t.Fatal(err)
	}
	return h
}

func (f *front) testReserved(t *testing.T) {
	for _, path := range []string{
		"/internal", "/internal/help", "/metrics", "/livez", "/readyz", "/INTERNAL/help", "/Metrics", "//internal/help", "///metrics",
		"/%69nternal/help", "/%2finternal/help", "/%2Finternal", "/internal%2fhelp", "/x/../internal/help", "/x/%2e%2e/internal",
		"/./internal", "/x/..%2finternal", "/internal;x/help", "/metrics;", `/\internal`, "/%5cinternal", "/..;/internal/help", "/x/..;/metrics",
		"http://localhost/internal/help", "http://localhost//internal/help", "/internal?x=1", "/metrics/",
	} {
		resp := f.raw(t, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n")
		if resp.code/100 != 4 || strings.Contains(resp.text, "who") {
			t.Errorf("%s: %d: %.100s", path, resp.code, resp.text)
		}
	}
	for _, path := range []string{"/", "/internals", "/x/internal", "/metricsx", "/x/metrics/y", "/a%2fb", "/?q=/internal/../metrics"} { // the control
		if resp := f.raw(t, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n"); resp.code != http.StatusOK {
			t.Errorf("%s: %d", path, resp.code)
		}
	}
}

func (f *front) testHeaders(t *testing.T) {
	forged := []string{
		"X-Forwarded-For: 6.6.6.6", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: gopher", "X-Forwarded-User: root", "Forwarded: for=6.6.6.6",
		"Via: 1.1 evil", "X-Real-Ip: 6.6.6.6", "X-Remote-User: root", "X-Auth-Request-User: root", "X-Auth-User: root",
		"easyops-service-authorization: Bearer x", "True-Client-Ip: 6.6.6.6",
		"X_Forwarded_For: 6.6.6.6", "Ssl-Client-Verify: SUCCESS", "Tailscale-User-Login: root", "Remote_User: root", "Proxy: http://6.6.6.6", "Client-Cert: :AAAA:",
		"X-Webauth-Groups: root", "X-Authenticated-User: root", "Cf-Access-Jwt-Assertion: x", "X-Client-Dn: root", "X-Username: root", "X-Http-Method-Override: DELETE",
	}
	h := f.hears(t, "GET /a/b?c=d HTTP/1.1\r\nHost: shop.example.com:8443\r\nAuthorization: Bearer mine\r\nX-Mine: kept\r\n"+strings.Join(forged, "\r\n")+"\r\n")
	want := map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "shop.example.com:8443", "X-Forwarded-Proto": "https", "X-Mine": "kept", "Authorization": "Bearer mine"}
	for name, value := range want {
		if got := h.Header.Values(name); len(got) != 1 || got[0] != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	for _, line := range forged {
		name, _, _ := strings.Cut(line, ":")
		if name = http.CanonicalHeaderKey(name); want[name] == "" && h.Header.Get(name) != "" {
			t.Errorf("%s was passed on: %q", name, h.Header.Values(name))
		}
	}
	if h.Host != "shop.example.com:8443" || h.URI != "/a/b?c=d" {
		t.Errorf("host %q, URI %q", h.Host, h.URI)
	}
}

// testUpgrade looks at whether a request for a WebSocket arrives as one, and none for
// another protocol.
func (f *front) testUpgrade(t *testing.T) {
	h := f.hears(t, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n")
	if got := h.Header.Get("Upgrade"); got != "websocket" || !strings.EqualFold(h.Header.Get("Connection"), "upgrade") {
		t.Errorf("Upgrade %q, Connection %q", got, h.Header.Get("Connection"))
	}
	for _, to := range []string{"h2c", "h2c, websocket", "websocket\r\nUpgrade: h2c", "TLS/1.3", "websockets"} {
		resp := f.raw(t, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nUpgrade: "+to+"\r\n")
		if resp.code == http.StatusBadRequest {
			continue
		}
		h = heard{}
		if err := json.Unmarshal([]byte(resp.text), &h); err != nil {
			t.Errorf("%q: %d: %v", to, resp.code, err)
		}
		for _, name := range []string{"Upgrade", "Http2-Settings"} {
			if got := h.Header.Values(name); len(got) > 0 && !(name == "Upgrade" && len(got) == 1 && got[0] == "websocket") {
				t.Errorf("%q: %s arrives as %q", to, name, got)
			}
		}
	}
}

func (f *front) testNoRoute(t *testing.T) {
	conn, err := f.connect()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	err = conn.Invoke(t.Context(), "/other.v1.OtherService/Do", &echov1.EchoRequest{}, &echov1.EchoResponse{})
	if s := status.Convert(err); s.Code() != codes.Unimplemented || s.Message() != "no route leads there" {
		t.Error(err)
	}
}

func (f *front) testMetadata(t *testing.T) {
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-forwarded-for", "6.6.6.6", "easyops-service-authorization", "Bearer x")
	if _, err := f.dial(t).Echo(ctx, &echov1.EchoRequest{Message: "hi"}); err != nil {
		t.Error(err)
	}
	// Trailers with a status of the service's own.
	stream, err := f.dial(t).Repeat(t.Context(), &echov1.RepeatRequest{Message: "hi", Count: 3})
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		if _, err := stream.Recv(); err != nil {
			if !errors.Is(err, io.EOF) || n != 3 {
				t.Errorf("%d messages, then %v", n, err)
			}
			break
		}
	}
}

// TestRoutes leads by host and path, and to services that nobody has.
func TestRoutes(t *testing.T) {
	everywhere(t, func(t *testing.T, p proxy) {
		url := newRegistry(t)
		startBackends(t, 1, url)
		f := startFront(t, p, url)
		f.follow(t)
		f.await(t)
		gone := serve.FreeAddr(t)
		f.routes(t, `
http:
  - {path: /, service: page, allow: EVERYONE}
  - {path: /nobody/, service: nobody, allow: EVERYONE}
  - {host: "*.example.com", service: nobody, allow: EVERYONE}
  - {host: a.example.com, path: /page/, service: page, allow: EVERYONE}
grpc:
  - {service: "echo.v1.*", allow: EVERYONE}
  - {service: gone.v1.GoneService, allow: EVERYONE}
tcp:
  - {listen: "`+f.lines+`", service: lines}
  - {listen: "`+gone+`", service: nobody}
`)
		eventually(t, "the changed routes are in use", func() error {
			if resp := f.raw(t, "GET /nobody HTTP/1.1\r\nHost: localhost\r\n"); resp.code != http.StatusServiceUnavailable {
				return fmt.Errorf("/nobody: %d", resp.code)
			}
			return nil
		})
		for _, c := range []struct {
			host, path string
			code       int
		}{
			{"localhost", "/", 200},
			{"localhost", "/nobody/x", 503},
			{"localhost", "/nobody2", 200},
			{"b.example.com", "/", 503},
			{"B.example.com:443", "/x", 503},
			{"example.com", "/", 200},
			{"a.example.com", "/page/x", 200},
			{"A.EXAMPLE.com:8443", "/page", 200},
			{"a.example.com", "/pages", 503},
		} {
			if resp := f.raw(t, "GET "+c.path+" HTTP/1.1\r\nHost: "+c.host+"\r\n"); resp.code != c.code {
				t.Errorf("%s%s: %d, want %d", c.host, c.path, resp.code, c.code)
			}
		}
		if err := echoBy(f.dial(t))(t.Context()); err != nil {
			t.Error(err)
		}
		f.testNobody(t, gone)
	})
}

// testNobody asks for services that have no instance.
func (f *front) testNobody(t *testing.T, addr string) {
	t.Helper()
	conn, err := f.connect()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	err = conn.Invoke(t.Context(), "/gone.v1.GoneService/Do", &echov1.EchoRequest{}, &echov1.EchoResponse{})
	if s := status.Convert(err); s.Code() != codes.Unavailable || s.Message() != "no instance of gone.v1.GoneService" {
		t.Error(err)
	}
	tcp, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	_ = tcp.SetDeadline(time.Now().Add(patience))
	if n, err := tcp.Read(make([]byte, 1)); n != 0 || err == nil || isTimeout(err) {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// TestTLSBehind has services speak TLS, and names them wrong for a control.
func TestTLSBehind(t *testing.T) {
	everywhere(t, func(t *testing.T, p proxy) {
		right := serve.NewCerts(t, "page", "echo.v1.EchoService")
		t.Run("right", func(t *testing.T) { testTLSBehind(t, p, right, right.CA, true) })
		wrong := serve.NewCerts(t, "other")
		t.Run("wrong name", func(t *testing.T) { testTLSBehind(t, p, wrong, wrong.CA, false) })
		t.Run("wrong authority", func(t *testing.T) { testTLSBehind(t, p, right, wrong.CA, false) })
	})
}

func testTLSBehind(t *testing.T, p proxy, certs serve.Certs, ca string, served bool) {
	url := newRegistry(t)
	startBackends(t, 1, url, certs.Flags()...)
	f := startFront(t, p, url, "--ca", ca)
	if served {
		f.await(t)
		return
	}
	client, echo := f.client(t, false, false), f.dial(t)
	eventually(t, "an answer", func() error {
		resp, err := client.Get("https://" + f.addr + "/")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusServiceUnavailable && resp.StatusCode != http.StatusBadGateway {
			t.Errorf("%s", resp.Status)
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := echo.Echo(ctx, &echov1.EchoRequest{Message: "hi"}); status.Code(err) != codes.Unavailable {
		t.Errorf("%v, want UNAVAILABLE", err)
	}
}
