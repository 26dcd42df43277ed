package easyops

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/auth"
)

func TestStaysHere(t *testing.T) {
	tcp := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 1} }
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	for _, test := range []struct {
		peer    net.Addr
		proxied bool
		want    bool
	}{
		{peer: tcp("127.0.0.1"), want: true},
		{peer: tcp("127.9.9.9"), want: true},
		{peer: tcp("::1"), want: true},
		{peer: tcp("::ffff:127.0.0.1"), want: true},
		{peer: &net.UnixAddr{Name: "/s", Net: "unix"}, want: true},
		{peer: &net.UnixAddr{Name: "/s", Net: "unix"}, proxied: true, want: true},
		{peer: here.RemoteAddr(), want: true},
		{peer: tcp("127.0.0.1"), proxied: true},
		{peer: tcp("10.0.0.7")},
		{peer: tcp("0.0.0.0")},
		{peer: tcp("fe80::1")},
		{peer: tcp("::ffff:10.0.0.7")},
		{peer: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}},
		{peer: &net.TCPAddr{}},
		{},
	} {
		if got := staysHere(test.peer, test.proxied); got != test.want {
			t.Errorf("%v, proxied %v: got %v", test.peer, test.proxied, got)
		}
	}
}

// A proxy's own address may be on this machine, and says nothing of where it
// leads.
func TestIsProxied(t *testing.T) {
	var asked string
	proxy := func(r *http.Request) (*url.URL, error) {
		asked = r.URL.Host
		return &url.URL{Host: "127.0.0.1:3128"}, nil
	}
	for target, host := range map[string]string{
		"echo.example.org:443":                "echo.example.org:443",
		"dns:///echo.example.org:443":         "echo.example.org:443",
		"dns:echo.example.org:443":            "echo.example.org:443",
		"dns://1.1.1.1/echo.example.org":      "echo.example.org",
		"passthrough:///echo.example.org:443": "echo.example.org:443",
		"127.0.0.1:4100":                      "127.0.0.1:4100",
	} {
		if !isProxied(target, proxy) || asked != host {
			t.Errorf("%s: asked for %q", target, asked)
		}
	}
	if isProxied("", proxy) {
		t.Error("the registry's instances are not behind a proxy")
	}
	if isProxied("x:1", func(*http.Request) (*url.URL, error) { return nil, nil }) {
		t.Error("there is no proxy")
	}
	if !isProxied("x:1", func(*http.Request) (*url.URL, error) { return nil, errors.New("HTTPS_PROXY is no URL") }) {
		t.Error("what cannot be told counts as proxied")
	}
}

// unknown is a transport that is not ours.
type unknown struct{}

func (unknown) AuthType() string { return "unknown" }

func TestNoTokenOverUnknownLinks(t *testing.T) {
	for _, info := range []credentials.AuthInfo{nil, unknown{}, credentials.TLSInfo{}, &plainLink{}, &secureLink{}} {
		if l := linkOf(info); l.carriesTokens() || l.named {
			t.Errorf("%T: %+v", info, l)
		}
	}
}

// TestLoopbackOfOtherRegistries: only the local registry lists nothing but what
// this user of this machine serves.
func TestLoopbackOfOtherRegistries(t *testing.T) {
	ctx := credentials.NewContextWithRequestInfo(t.Context(), credentials.RequestInfo{AuthInfo: &plainLink{local: true}})
	incoming := context.WithValue(ctx, auth.ContextKey{}, &auth.Caller{UserToken: "user"})
	for registry, carried := range map[string]bool{"local": true, "local:/dir": true, "etcd://h:2379": false, "localhost": false} {
		c := newConfig()
		c.registry = registry
		creds, err := newCallCreds(c, "s")
		if err != nil {
			t.Fatal(err)
		}
		md, err := creds.GetRequestMetadata(incoming)
		if (err == nil) != carried || carried != (md[auth.UserHeader] == "Bearer user") {
			t.Errorf("%s: got %v, %v", registry, md, err)
		}
		if !carried && (status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), "local registry")) {
			t.Errorf("%s: %v", registry, err)
		}
		if md, err = creds.GetRequestMetadata(auth.WithUserToken(ctx, "named")); err != nil || md[auth.UserHeader] != "Bearer named" {
			t.Errorf("%s, named: got %v, %v", registry, md, err)
		}
	}
}

// TestCostOfCredentials: what a call pays beside what gRPC does with the answer.
func TestCostOfCredentials(t *testing.T) {
	file := t.TempDir() + "/token"
	if err := os.WriteFile(file, []byte("svc"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newConfig()
	c.serviceToken = file
	withOwn, err := newCallCreds(c, "s")
	if err != nil {
		t.Fatal(err)
	}
	without, _ := newCallCreds(newConfig(), "s")
	ctx := credentials.NewContextWithRequestInfo(t.Context(), credentials.RequestInfo{AuthInfo: &secureLink{verified: true}})
	user := context.WithValue(ctx, auth.ContextKey{}, &auth.Caller{UserToken: "user"})
	for name, test := range map[string]struct {
		creds *callCreds
		ctx   context.Context
		most  float64
	}{
		"nobody":           {without, ctx, 0},
		"service":          {withOwn, ctx, 0},
		"user":             {without, user, 3},
		"user and service": {withOwn, user, 3},
	} {
		got := testing.AllocsPerRun(1000, func() {
			if _, err := test.creds.GetRequestMetadata(test.ctx); err != nil {
				t.Error(err)
			}
		})
		if got > test.most {
			t.Errorf("%s: %v allocations, want %v at most", name, got, test.most)
		}
	}
	start := time.Now()
	for range 100_000 {
		_, _ = withOwn.GetRequestMetadata(user)
	}
	t.Logf("%v each with user and service", time.Since(start)/100_000)
}
