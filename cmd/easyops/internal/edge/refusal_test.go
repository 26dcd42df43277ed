package edge

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// What is answered whatever the path is, and beside it what passes.
func TestRefusals(t *testing.T) {
	p := newPlace(t)
	_, url := p.open(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Method+" "+r.URL.RawQuery) })
	addr := addrOf(strings.TrimPrefix(url, "http://"))
	for _, c := range []struct {
		head string
		code int
	}{
		{"GET /?a=b&c=%20d|e+'\"[]{}", http.StatusOK},
		{"GET /?a=\xc3\xa4", http.StatusBadRequest},
		{"GET /?a=b\x7f", http.StatusBadRequest},
		{"OPTIONS /", http.StatusOK},
		{"TRACE /", http.StatusMethodNotAllowed},
		{"Trace /", http.StatusMethodNotAllowed},
		{"GET /\nContent-Type: text/application/grpc", http.StatusOK},
		{"POST /a.B/C\nContent-Type: application/grpc", http.StatusUnsupportedMediaType},
		{"GET /\nContent-Type: APPLICATION/grpc+proto", http.StatusUnsupportedMediaType},
		{"GET /\nContent-Type: application/grpc-web", http.StatusUnsupportedMediaType},
		{"GET /\nContent-Type: text/plain\nContent-Type: application/grpc;x", http.StatusUnsupportedMediaType},
		{"GET /\nContent-Type: text/plain, application/grpc", http.StatusUnsupportedMediaType},
		{"GET /\nAuthorization: Basic TlRMTQ==", http.StatusOK},
		{"GET /\nAuthorization: NTLM x", http.StatusBadRequest},
		{"GET /\nAuthorization: negotiate x", http.StatusBadRequest},
	} {
		line, more, _ := strings.Cut(c.head, "\n")
		resp := raw(t, addr, line+" HTTP/1.1\r\nHost: x\r\n"+strings.ReplaceAll(more, "\n", "\r\n")+"\r\n\r\n")
		if resp.StatusCode != c.code {
			t.Errorf("%q: %s, want %d", c.head, resp.Status, c.code)
		}
	}
}

// By HTTP/2 a query may have spaces in it, which would end the line that a service is
// asked by.
func TestQueryOfHTTP2(t *testing.T) {
	table := NewTable(TableConfig{})
	for query, refused := range map[string]bool{"a b": true, "x HTTP/1.1\r\nX-Evil: 1": true, "a\t": true, "\x00": true, "a=%20+b": false} {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/", http.NoBody)
		if r.URL.RawQuery = query; (table.HTTPRoute(r) != nil) != refused {
			t.Errorf("%q: refused is not %v", query, refused)
		}
	}
}

// A method of a service behind the edge is reached by the route of calls alone, though
// its server has pages as well.
func TestCallsByHTTPRoutes(t *testing.T) {
	p := newPlace(t)
	p.certificate("good", "page", "echo.v1.EchoService")
	p.behind([]easyops.Service{echov1.BindEchoServiceServer(echoServer{})}, easyops.WithTLSFiles(p.dir+"/good.pem", p.dir+"/good.key", p.dir+"/good.pem"),
		easyops.WithHTTPService("page", "/", http.HandlerFunc(echoHeaders), everyone))
	c := p.config("http:\n- {service: page, allow: EVERYONE}\ngrpc:\n- {service: echo.v1.EchoService, groups: [staff]}\n",
		"-easyops.tls-ca="+p.dir+"/good.pem", "-easyops.insecure-plaintext=true")
	c.Options = append(c.Options, easyops.WithAuthenticator(tokens), easyops.WithTLSFiles("", "", ""), easyops.WithDrainDelay(0))
	e := p.start(c)
	for _, contentType := range []string{"application/grpc", "application/grpc+proto", "Application/GRPC"} {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+e.Addr().String()+"/echo.v1.EchoService/Echo", bytes.NewReader(make([]byte, 5)))
		resp, body := send(t, browser(t), r, "Authorization", "Bearer user-bob", "Content-Type", contentType, "Te", "trailers")
		if resp.StatusCode != http.StatusUnsupportedMediaType || resp.Header.Get("Grpc-Status") != "" {
			t.Errorf("%s: %s %q %v", contentType, resp.Status, body, resp.Header)
		}
	}
	// The control: by the route it works.
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer user-alice")
	if got, err := sayTo(ctx, echov1.NewEchoServiceClient(connect(t, e.Addr())), "who"); err != nil || got != "alice" {
		t.Error(got, err)
	}
}
