package status

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// request is one that claims to come from peer to local.
func request(peer, local, host string) *http.Request {
	r := httptest.NewRequest("GET", "http://"+host+"/internal/help", nil)
	r.RemoteAddr = peer
	addr := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(local))
	return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(addr)))
}

func TestLocalOperatorRefuses(t *testing.T) {
	for name, r := range map[string]*http.Request{
		"another machine":        request("192.0.2.7:4000", "192.0.2.1:4100", "192.0.2.1:4100"),
		"own, not loopback":      request("192.0.2.1:4000", "192.0.2.1:4100", "localhost:4100"),
		"foreign host":           request("127.0.0.1:4000", "127.0.0.1:4100", "evil.example"),
		"peer without an addr":   request("pipe", "127.0.0.1:4100", "localhost"),
		"no such socket":         request("127.0.0.1:1", "127.0.0.1:2", "localhost"),
		"no local addr":          httptest.NewRequest("GET", "http://localhost/", nil),
		"name that looks local":  request("127.0.0.1:4000", "127.0.0.1:4100", "127.0.0.1.example"),
		"unspecified as a host":  request("127.0.0.1:4000", "127.0.0.1:4100", "0.0.0.0:4100"),
		"peer that looks mapped": request("[::ffff:192.0.2.7]:4000", "127.0.0.1:4100", "localhost"),
	} {
		who, err := LocalOperator()(r)
		if err == nil || who != "" {
			t.Errorf("%s: let in as %q", name, who)
		} else if !strings.Contains(err.Error(), ":") {
			t.Errorf("%s: %v does not say what to do", name, err)
		}
	}
}

func TestNobodyOperator(t *testing.T) {
	_, err := NobodyOperator("it runs with -easyops.auth=insecure-none")(request("127.0.0.1:1", "127.0.0.1:2", "localhost"))
	if err == nil || !strings.Contains(err.Error(), "insecure-none") {
		t.Errorf("error = %v", err)
	}
}

func TestFromThisMachine(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LocalHost.:4100": true, "127.0.0.1:4100": true, "127.1.2.3": true, "[::1]:4100": true,
		"evil.example": false, "localhost.evil.example": false, "127.0.0.1.example": false, "0.0.0.0": false, "192.0.2.1:4100": false,
	} {
		r := request("192.0.2.7:4000", "127.0.0.1:4100", host)
		if err := FromThisMachine(r); (err == nil) != want {
			t.Errorf("%s: %v", host, err)
		}
		for _, proxy := range []string{"Forwarded", "Via", "X-Forwarded-Host", "X-Real-Ip"} {
			r := r.Clone(r.Context())
			r.Header.Set(proxy, "")
			if err := FromThisMachine(r); err == nil {
				t.Errorf("%s: let in with %s", host, proxy)
			}
		}
	}
	err := FromThisMachine(httptest.NewRequest("GET", "http://evil.example/", nil))
	if err == nil || !strings.Contains(err.Error(), "use localhost") {
		t.Errorf("without an address: %v", err)
	}
}
