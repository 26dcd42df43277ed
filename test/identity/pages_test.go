package identity

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/easyops"
)

// TestOperatorsByCertificate: a service is operator by its certificate, on the
// gRPC port and on an address of the pages' own, and others are not.
func TestOperatorsByCertificate(t *testing.T) {
	w := newWorld(t)
	free := freeAddr(t)
	for _, own := range []bool{false, true} {
		t.Run(fmt.Sprintf("own address %t", own), func(t *testing.T) {
			opts := append(w.options("mTLS", ways[0]), easyops.WithOperators("service:deployer"))
			if own {
				opts = append(opts, easyops.WithStatusAddr(free))
			}
			s := start(t, "generated", opts...)
			addr := s.Addr().String()
			if own {
				addr = free
			}
			for name, want := range map[string]int{"deployer": http.StatusOK, "shop": http.StatusForbidden, "": http.StatusUnauthorized} {
				config := &tls.Config{RootCAs: w.pool(), ServerName: "localhost", MinVersion: tls.VersionTLS12}
				if name != "" {
					config.Certificates = []tls.Certificate{w.service(name, time.Time{})}
				}
				p := newPeer(t, addr, ways[0], config)
				clients := map[string]*http.Client{"HTTP/1": p.pages}
				if !own { // there HTTP/2 is not spoken
					clients["HTTP/2 alone"] = &http.Client{Transport: p.Transport, Timeout: 10 * time.Second}
				}
				for proto, client := range clients {
					for _, page := range []string{"/internal/help", "/internal/service-info/version", "/metrics"} {
						resp, err := client.Get("https://" + addr + page)
						if err != nil {
							t.Fatal(err)
						}
						_ = resp.Body.Close()
						if resp.StatusCode != want {
							t.Errorf("%s as %q by %s: %d, want %d", page, name, proto, resp.StatusCode, want)
						}
					}
				}
			}
		})
	}
}

// freeAddr is an address of this machine that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	return lis.Addr().String()
}
