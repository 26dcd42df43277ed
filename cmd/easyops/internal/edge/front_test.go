package edge

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// Clients that come by TLS and HTTP/2, requests and calls at one port: services learn
// that they came so.
func TestTLSInFront(t *testing.T) {
	p := newPlace(t)
	p.behind([]easyops.Service{echov1.BindEchoServiceServer(echoServer{})}, easyops.WithHTTPService("page", "/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, strings.Join([]string{r.Header.Get("X-Forwarded-Proto"), r.Header.Get("Via"), r.Host, string(body), r.Trailer.Get("X-After")}, " "))
	}), everyone))
	c := p.config("http:\n- {service: page, host: shop.test, allow: EVERYONE}\ngrpc:\n- {service: \"*\", host: shop.test}\ntls:\n" + p.certificate("shop", "shop.test"))
	c.Options = append(c.Options, easyops.WithAuthenticator(tokens), easyops.WithDrainDelay(0))
	e := p.start(c)
	pem, err := os.ReadFile(p.dir + "/shop.pem")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	config := &tls.Config{RootCAs: roots, ServerName: "shop.test"}
	for _, h2 := range []bool{true, false} {
		transport := &http.Transport{TLSClientConfig: config.Clone(), ForceAttemptHTTP2: h2}
		t.Cleanup(transport.CloseIdleConnections)
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, "https://"+e.Addr().String()+"/x", io.NopCloser(strings.NewReader("hello")))
		r.Trailer = http.Header{"X-After": {"bye"}}
		want := map[bool]string{true: "https 2.0 easyops-edge shop.test hello bye", false: "https 1.1 easyops-edge shop.test hello bye"}[h2]
		resp, body := send(t, &http.Client{Transport: transport}, r, "Host", "shop.test")
		if body != want || (resp.ProtoMajor == 2) != h2 {
			t.Errorf("%s %s: %q, want %q", resp.Proto, resp.Status, body, want)
		}
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer user-alice")
	calls := echov1.NewEchoServiceClient(connect(t, e.Addr(), grpc.WithTransportCredentials(credentials.NewTLS(config)), grpc.WithAuthority("shop.test")))
	for message, want := range map[string]string{"metadata x-forwarded-proto": "https", "metadata x-forwarded-host": "shop.test", "who": "alice"} {
		if got, err := sayTo(ctx, calls, message); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", message, got, err, want)
		}
	}
}
