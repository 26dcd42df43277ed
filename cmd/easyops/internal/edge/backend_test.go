package edge

import (
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
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/registry"
)

// Behind the edge TLS is spoken where it has the authorities: to servers that prove
// that they may serve the service, by HTTP/2, and without a certificate of the edge's.
func TestTLSBehind(t *testing.T) {
	p := newPlace(t)
	p.certificate("good", "page", "echo.v1.EchoService", "localhost")
	p.certificate("edge", "edge.test")
	good := easyops.WithTLSFiles(p.dir+"/good.pem", p.dir+"/good.key", p.dir+"/good.pem")
	show := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			fmt.Fprint(w, r.Proto)
			return
		}
		fmt.Fprintf(w, "%s %v %d %s", r.Proto, r.TLS != nil, len(r.TLS.PeerCertificates), r.Header.Get("Authorization"))
	})
	p.behind([]easyops.Service{echov1.BindEchoServiceServer(echoServer{})}, good,
		easyops.WithHTTPService("page", "/", show), easyops.WithHTTPService("other", "/other", show))
	c := p.config("http:\n- {service: page}\n- {service: other, path: /other, connect_timeout: 500ms}\ngrpc:\n- {service: \"*\"}\n",
		"-easyops.tls-ca="+p.dir+"/good.pem", "-easyops.insecure-plaintext=true")
	c.Options = append(c.Options, easyops.WithAuthenticator(tokens), easyops.WithTLSFiles("", "", ""), easyops.WithDrainDelay(0))
	e := p.start(c)
	token := []string{"Authorization", "Bearer user-alice"}
	if resp, body := get(t, browser(t), "http://"+e.Addr().String()+"/", token...); body != "HTTP/2.0 true 0 Bearer user-alice" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, body := get(t, browser(t), "http://"+e.Addr().String()+"/", append(token, "Connection", "Upgrade", "Upgrade", "WebSocket")...); body != "HTTP/1.1" {
		t.Errorf("a request to upgrade: %d %s", resp.StatusCode, body)
	}
	if resp, body := get(t, browser(t), "http://"+e.Addr().String()+"/other", token...); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(p.log.text(), "and not of other") {
		t.Errorf("a service that the certificate does not name: %d %s", resp.StatusCode, body)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer user-alice")
	if got, err := sayTo(ctx, echov1.NewEchoServiceClient(connect(t, e.Addr())), "who"); err != nil || got != "alice" {
		t.Error(got, err)
	}
}

// Without the authorities nobody behind the edge that wants TLS is reached, and the log
// says what is missing.
func TestPlaintextToTLS(t *testing.T) {
	p := newPlace(t)
	p.certificate("good", "page", "echo.v1.EchoService")
	p.behind([]easyops.Service{echov1.BindEchoServiceServer(echoServer{})}, easyops.WithTLSFiles(p.dir+"/good.pem", p.dir+"/good.key", ""),
		easyops.WithHTTPService("page", "/", http.HandlerFunc(echoHeaders), everyone))
	e := p.edge("http:\n- {service: page, allow: EVERYONE, connect_timeout: 500ms}\ngrpc:\n- {service: \"*\", connect_timeout: 500ms}\n")
	if resp, body := get(t, browser(t), "http://"+e.Addr().String()+"/"); resp.StatusCode == http.StatusOK {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer user-alice")
	if _, err := sayTo(ctx, echov1.NewEchoServiceClient(connect(t, e.Addr())), "who"); status.Code(err) != codes.Unavailable {
		t.Error(err)
	}
	await(t, "the setting in the log", func() bool { return strings.Contains(p.log.text(), "-easyops.tls-ca") })
}

// A token leaves the machine encrypted or not at all, in calls as in requests.
func TestTokenOffTheMachine(t *testing.T) {
	p := newPlace(t)
	ip := ownAddress(t)
	p.behind([]easyops.Service{echov1.BindEchoServiceServer(echoServer{})}, easyops.WithAddr(ip+":0"), easyops.WithInsecurePlaintext(),
		easyops.WithHTTPService("page", "/", http.HandlerFunc(echoHeaders), everyone))
	e := p.edge("http:\n- {service: page, allow: EVERYONE}\ngrpc:\n- {service: \"*\", allow: EVERYONE}\n")
	c := echov1.NewEchoServiceClient(connect(t, e.Addr()))
	for _, name := range []string{"authorization", "Authorization"} {
		resp, _ := get(t, browser(t), "http://"+e.Addr().String()+"/", name, "Bearer user-alice")
		if resp.StatusCode != http.StatusBadGateway {
			t.Errorf("a request: %s", resp.Status)
		}
		ctx := metadata.AppendToOutgoingContext(t.Context(), name, "Bearer user-alice")
		if _, err := sayTo(ctx, c, "who"); status.Code(err) != codes.Unavailable || strings.Contains(err.Error(), ip) {
			t.Errorf("a call: %v", err)
		}
	}
	// The control: without a token both arrive.
	if resp, _ := get(t, browser(t), "http://"+e.Addr().String()+"/"); resp.StatusCode != http.StatusOK {
		t.Errorf("a request without a token: %s", resp.Status)
	}
	if _, err := sayTo(t.Context(), c, "who"); status.Code(err) != codes.Unauthenticated { // by the service
		t.Errorf("a call without a token: %v", err)
	}
	if log := p.log.text(); strings.Count(log, "requests leave this machine unencrypted") != 1 {
		t.Error("the log does not say once that everything else goes unencrypted")
	}
	if log := p.log.text(); strings.Count(log, "a token would leave the machine unencrypted") != 2 || strings.Contains(log, "user-alice") {
		t.Error("the log does not say it once for each, or has the token")
	}
}

// shared is a registry that others write to.
type shared struct{ registry.Registry }

// A port of this machine that others have said which it is gets no token in plaintext.
func TestTokenByASharedRegistry(t *testing.T) {
	p := newPlace(t)
	p.foreign("page", http.HandlerFunc(echoHeaders))
	own, err := registry.Open(p.registry, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = own.Close() })
	for r, passes := range map[registry.Registry]bool{own: true, shared{own}: false} {
		table := NewTable(TableConfig{Registry: r})
		b, err := newBackend(&table.config, "page", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		for _, token := range []string{"", "Bearer user-alice"} {
			out, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/", http.NoBody)
			if token != "" {
				out.Header.Set("Authorization", token)
			}
			resp, err := b.RoundTrip(out)
			if err == nil {
				resp.Body.Close()
			}
			if _, refused := errors.AsType[*plaintextError](err); refused != (token != "" && !passes) {
				t.Errorf("%T with %q: %v", r, token, err)
			}
		}
		if err := b.end(true); err != nil {
			t.Error(err)
		}
	}
}

// ownAddress is one of this machine that is not loopback.
func ownAddress(t *testing.T) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP.String()
		}
	}
	t.Skip("this machine has no other address than loopback")
	return ""
}

// Changes of the table take effect for the next request, and none is lost by them.
func TestTableChanges(t *testing.T) {
	p := newPlace(t)
	arrived, goOn := make(chan bool), make(chan bool)
	p.foreign("one", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			arrived <- true
			<-goOn
		}
		fmt.Fprint(w, "one")
	}))
	p.foreign("two", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "two") }))
	const text = "http:\n- {service: %s, allow: EVERYONE}\n"
	e := p.edge(fmt.Sprintf(text, "one"))
	url, c := "http://"+e.Addr().String(), browser(t)
	slow := make(chan string)
	go func() {
		resp, err := c.Get(url + "/slow")
		if err != nil {
			slow <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		slow <- string(body)
	}()
	<-arrived
	all := repeat(2, func() error {
		resp, err := c.Get(url + "/x")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if s := string(body); err != nil || s != "one" && s != "two" {
			return fmt.Errorf("%s %s %w", resp.Status, s, err)
		}
		return nil
	})
	for n := range 20 {
		if err := p.reload(e, fmt.Sprintf(text, []string{"two", "one"}[n%2])); err != nil {
			t.Fatal(err)
		}
		all.await(5)
	}
	if err := p.reload(e, fmt.Sprintf(text, "two")); err != nil {
		t.Fatal(err)
	}
	if _, body := get(t, c, url+"/x"); body != "two" {
		t.Errorf("after the change: %s", body)
	}
	if errs := all.end(); len(errs) > 0 {
		t.Errorf("%d failed: %v", len(errs), errs[0])
	}
	goOn <- true
	if got := <-slow; got != "one" {
		t.Errorf("what was under way: %s", got)
	}
}

// What nobody needs is closed a while later, and what is needed again is not.
func TestHolder(t *testing.T) {
	closed := make(chan bool, 2)
	h := &holder{linger: 10 * time.Millisecond, close: func() error { closed <- true; return nil }}
	isClosed := func(within time.Duration) bool {
		select {
		case <-closed:
			return true
		case <-time.After(within):
			return false
		}
	}
	if err := h.take(); err != nil {
		t.Fatal(err)
	}
	h.keep(false)
	if isClosed(50 * time.Millisecond) {
		t.Fatal("it was closed under a request")
	}
	h.keep(true)
	h.drop()
	if isClosed(50 * time.Millisecond) {
		t.Fatal("it was closed though the table needs it")
	}
	h.keep(false)
	if !isClosed(10 * time.Second) {
		t.Fatal("it was not closed")
	}
	if h.keep(true) || h.take() == nil {
		t.Error("it is used after it was closed")
	}
	if err := h.end(true); err != nil || isClosed(0) {
		t.Errorf("it was closed twice, %v", err)
	}
}

// The page has the routes, what serves them, and what is wrong with the file.
func TestRoutesPage(t *testing.T) {
	p := newPlace(t)
	p.behind([]easyops.Service{echov1.BindEchoServiceServer(echoServer{})}, easyops.WithHTTPService("page", "/", http.HandlerFunc(echoHeaders), everyone))
	e := p.start(p.config("http:\n- {service: page, path: /x, allow: EVERYONE}\n- {service: gone, host: a.b, allow: EVERYONE, connect_timeout: 100ms}\ngrpc:\n- {service: echo.v1.EchoService}\n- {service: other.*}\ntcp:\n- {service: db, listen: \"127.0.0.1:0\"}\n"))
	for _, path := range []string{"/x", "/x/y"} {
		if resp, _ := get(t, browser(t), "http://"+e.Addr().String()+path); resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
	}
	if resp, _ := get(t, browser(t), "http://"+e.Addr().String()+"/", "Host", "a.b"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Fatal(resp.Status)
	}
	if err := p.reload(e, "http: [{servce: x}]\n"); err == nil {
		t.Fatal("a broken file is in force")
	}
	admin := "http://" + e.AdminAddr().String() + pagePath
	await(t, "what serves the routes", func() bool {
		_, text := get(t, browser(t), admin, "Accept", "text/html")
		return strings.Count(text, "1 of 1 instances") == 2 && strings.Count(text, "no instance<") == 2 && strings.Contains(text, "as the call says")
	})
	_, text := get(t, browser(t), admin, "Accept", "text/html")
	for _, want := range []string{"routes.yaml", "servce: is unknown", "/x/", "a.b/", "echo.v1.EchoService", "other.*", "127.0.0.1:0", "EVERYONE", "AUTHENTICATED", "READY", "no instance of gone"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	_, text = get(t, browser(t), admin, "Accept", "application/json")
	for _, want := range []string{`"route": "/x/"`, `"total": 2`, `"kind": "tcp"`, `"failures": 1`, `"version": 1`, `"error": "`, `"services": [`} {
		if !strings.Contains(text, want) {
			t.Errorf("the JSON does not have %s:\n%s", want, text)
		}
	}
	if resp, _ := get(t, browser(t), "http://"+e.Addr().String()+pagePath); resp.StatusCode != http.StatusNotFound {
		t.Errorf("the page is on the port of the routes: %s", resp.Status)
	}
}

// Nor is a call: whether a route names the service or all are of one, its connections
// are the same.
func TestTableChangesForCalls(t *testing.T) {
	p := newPlace(t)
	p.behind([]easyops.Service{echov1.BindEchoServiceServer(echoServer{})})
	texts := []string{"grpc:\n- {service: \"*\"}\n", "grpc:\n- {service: echo.v1.EchoService, max_message: 1MiB}\n", "grpc:\n- {service: echo.*, host: \"127.0.0.1\"}\n"}
	e := p.edge(texts[0])
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer user-alice")
	c := echov1.NewEchoServiceClient(connect(t, e.Addr()))
	chat, err := c.Chat(ctx)
	if err != nil {
		t.Fatal(err)
	}
	all := repeat(2, func() error { _, err := sayTo(ctx, c, "hello"); return err })
	for n := range 12 {
		if err := p.reload(e, texts[n%len(texts)]); err != nil {
			t.Fatal(err)
		}
		all.await(5)
		if err := chat.Send(&echov1.ChatRequest{Message: "m"}); err != nil {
			t.Fatal(err)
		}
		if _, err := chat.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	if errs := all.end(); len(errs) > 0 {
		t.Errorf("%d failed: %v", len(errs), errs[0])
	}
	if n := len(e.table.clients.status()); n != 1 {
		t.Errorf("there are connections to %d services", n)
	}
}
