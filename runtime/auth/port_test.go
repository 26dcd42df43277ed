package auth

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/port"
)

// The port, which puts its own ALPN into what Server returns, serves with the
// set in force, and tells handlers of the client's chain.
func TestServerBehindThePort(t *testing.T) {
	ca, next := newTestCA(t, "ca"), newTestCA(t, "next")
	serverDir, clientDir := newCertDir(t, ca.issue(t, withURI(echoID)), ca), newCertDir(t, ca.issue(t, withURI(otherID)), ca)
	server, client := serverDir.load(nil), clientDir.load(nil)
	addr := servePort(t, server)
	for _, step := range []func(){
		func() {},
		func() { serverDir.authorities(ca, next); clientDir.authorities(ca, next) },
		func() { serverDir.own(next.issue(t, withURI(echoID))); clientDir.own(next.issue(t, withURI(otherID))) },
		func() { serverDir.authorities(next); clientDir.authorities(next) },
	} {
		step()
		server.Refresh(time.Now())
		client.Refresh(time.Now())
		for proto, offered := range map[string][]string{"HTTP/2.0": {"h2", "http/1.1"}, "HTTP/1.1": {"http/1.1"}} {
			cfg := client.Client(client.ServesAs(echoService, ""), 0)
			cfg.NextProtos = offered
			if got, want := get(t, addr, cfg), proto+" "+otherID; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	}
}

func get(t *testing.T, addr string, cfg *tls.Config) (body string) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: slices.Contains(cfg.NextProtos, "h2")}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get("https://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

func servePort(t *testing.T, certs *Certificates) (addr string) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	mtls := MTLS(certs.TrustDomain)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.VerifiedChains) == 0 {
			_, _ = io.WriteString(w, "nobody")
			return
		}
		id, err := mtls.Authenticate(r.Context(), Credential{Certs: r.TLS.VerifiedChains[0]})
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(w, r.Proto+" "+id.Service.ID)
	})}
	p := port.New(lis, srv, port.Config{TLS: certs.Server()})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = p.Serve()
	}()
	t.Cleanup(func() {
		_ = p.Close()
		<-done
	})
	return lis.Addr().String()
}
