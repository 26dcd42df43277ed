package edge

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/registry"
)

// TestServiceWithTLS: an edge that speaks plaintext to services with TLS says so, and
// what it lacks.
func TestServiceWithTLS(t *testing.T) {
	p := newPlace(t)
	p.certificate("good", "page", "echo.v1.EchoService", "localhost")
	p.behind([]easyops.Service{echov1.BindEchoServiceServer(echoServer{})},
		easyops.WithTLSFiles(p.dir+"/good.pem", p.dir+"/good.key", p.dir+"/good.pem"),
		easyops.WithHTTPService("page", "/", http.NotFoundHandler(), everyone))
	other := httptest.NewTLSServer(http.NotFoundHandler())
	defer other.Close()
	p.list("other", registry.KindHTTP, other.Listener.Addr().String())
	e := p.edge("http:\n- {service: page, allow: EVERYONE}\n- {service: other, path: /other/, allow: EVERYONE}\n" +
		"grpc:\n- {service: echo.v1.EchoService, allow: EVERYONE, connect_timeout: 500ms}\n")
	for _, path := range []string{"/", "/other/"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			r, _ := http.NewRequestWithContext(t.Context(), method, "http://"+e.Addr().String()+path, http.NoBody)
			if resp, body := send(t, browser(t), r); resp.StatusCode != http.StatusBadGateway || strings.Contains(body, "TLS") {
				t.Errorf("%s %s: %s %s", method, path, resp.Status, body)
			}
		}
	}
	err := connect(t, e.Addr()).Invoke(t.Context(), "/echo.v1.EchoService/Echo", &echov1.EchoRequest{}, &echov1.EchoResponse{})
	if status.Code(err) != codes.Unavailable || strings.Contains(err.Error(), "tls-ca") {
		t.Error(err)
	}
	for _, r := range e.table.status() {
		if r.Failures == 0 || !strings.Contains(r.LastError, "-easyops.tls-ca") {
			t.Errorf("%s %s: %d failures, %s", r.Kind, r.Route, r.Failures, r.LastError)
		}
	}
	if log := p.log.text(); strings.Count(log, "requests refused: the service speaks TLS") != 2 {
		t.Error("the log does not say it of both services")
	}
}

// TestOldAnswers: what only looks like it passes as it is.
func TestOldAnswers(t *testing.T) {
	for body, want := range map[string]bool{"": false, "x": false, strings.Repeat("x", 1000): false, "this port speaks TLS: use https\n": true} {
		resp := &http.Response{StatusCode: http.StatusBadRequest, ProtoMajor: 1, Body: io.NopCloser(strings.NewReader(body))}
		got := wantsTLS(resp, nil)
		if rest, err := io.ReadAll(resp.Body); got != want || err != nil || string(rest) != body {
			t.Errorf("%.20q: %v, %v, %.20q", body, got, err, rest)
		}
	}
	if !wantsTLS(nil, errors.New(`net/http: HTTP/1.x transport connection broken: malformed HTTP response "\x15\x03\x01\x00\x02\x02P"`)) {
		t.Error("an alert of TLS is a sign of it")
	}
	if wantsTLS(nil, errors.New("connection reset")) || wantsTLS(&http.Response{StatusCode: http.StatusBadRequest, ProtoMajor: 1, ProtoMinor: 1}, nil) {
		t.Error("that is no sign of TLS")
	}
}
