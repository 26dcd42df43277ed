package edge

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// echoHeaders answers with the headers of the request, one a line.
func echoHeaders(w http.ResponseWriter, r *http.Request) {
	var lines []string
	for name, values := range r.Header {
		lines = append(lines, name+": "+strings.Join(values, "|"))
	}
	slices.Sort(lines)
	_, _ = w.Write([]byte("Host: " + r.Host + "\n" + strings.Join(lines, "\n") + "\n"))
}

// What comes in, and what arrives.
func TestRequestHeaders(t *testing.T) {
	p := newPlace(t)
	p.behind(nil, easyops.WithHTTPService("page", "/", http.HandlerFunc(echoHeaders), everyone))
	e := p.edge("http:\n- {service: page, allow: EVERYONE}\n")
	addr := e.Addr().String()
	none := map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": addr, "X-Forwarded-Proto": "http", "Via": "1.1 easyops-edge", "Host": addr}
	for _, c := range []struct {
		name string
		in   []string
		want map[string]string // beside none
	}{
		{"nothing", nil, nil},
		{"what is the client's affair", []string{"Accept", "a/b", "X-Own", "1", "X-Own", "2", "Cookie", "a=b", "Accept-Language", "de", "User-Agent", "u", "Accept-Encoding", "br"}, map[string]string{"Accept": "a/b", "X-Own": "1|2", "Cookie": "a=b", "Accept-Language": "de", "User-Agent": "u", "Accept-Encoding": "br"}},
		{"the host", []string{"Host", "Shop.example.com:1"}, map[string]string{"Host": "Shop.example.com:1", "X-Forwarded-Host": "Shop.example.com:1"}},
		{"a token", []string{"Authorization", "Bearer user-bob"}, map[string]string{"Authorization": "Bearer user-bob"}},
		{"who forwards", []string{"X-Forwarded-For", "1.2.3.4", "X-Forwarded-Host", "evil", "X-Forwarded-Proto", "https", "X-Forwarded-Port", "1", "X-Forwarded-User", "root", "X-Forwarded-Prefix", "/", "x-forwarded_for", "5.6.7.8", "Forwarded", "for=1.2.3.4", "Via", "1.1 x", "X-Real-Ip", "1.2.3.4"}, nil},
		{"who it is", []string{"X-Remote-User", "root", "Remote-User", "root", "X-Auth-Request-User", "root", "X-Auth-Email", "a", "X_Remote_User", "root", "Remote_User", "root", "Easyops-User", "root", "Easyops-Service-Authorization", "Bearer service-billing", "Easyops_Service_Authorization", "x", "X-Easyops-User", "root", "X-Webauth-User", "root"}, nil},
		{"which certificate", []string{"X-Client-Cert", "a", "X-Ssl-Client-S-Dn", "a", "Ssl-Client-Cert", "a", "X-Forwarded-Client-Cert", "a", "X-Client-Verify", "SUCCESS", "Client-Cert", "a"}, nil},
		{"who it is, to others", []string{"X-Webauth-Groups", "a", "Cf-Access-Jwt-Assertion", "a", "Oidc_claim_sub", "a", "X-Groups-Bin", "a", "X-Username", "a", "X-Client-Dn", "a"}, nil},
		{"another path or method", []string{"X-Original-Url", "/internal", "X-Rewrite-Url", "/internal", "X-Http-Method-Override", "DELETE"}, nil},
		{"another protocol", []string{"Connection", "Upgrade, HTTP2-Settings", "Upgrade", "h2c", "Http2-Settings", "AAMAAABkAAQAAP__"}, nil},
		{"one of several protocols", []string{"Connection", "Upgrade", "Upgrade", "websocket, h2c"}, nil},
		{"two protocols", []string{"Connection", "Upgrade", "Upgrade", "websocket", "Upgrade", "h2c"}, nil},
		{"a header of one connection", []string{"Keep-Alive", "1", "Te", "trailers", "Proxy-Connection", "x", "Proxy-Authorization", "Basic x", "Proxy", "x"}, map[string]string{"Te": "trailers"}},
		{"headers that the client says are of the connection", []string{"Connection", "X-Own, X-Forwarded-For, Via, close", "X-Own", "1", "X-Forwarded-For", "1.1.1.1"}, nil},
		{"a token in disguise", []string{"Authorization_", "x", "authorization", "Bearer user-bob"}, map[string]string{"Authorization_": "x", "Authorization": "Bearer user-bob"}},
		{"the length in disguise", []string{"Content_Type", "application/grpc", "Content_Length", "7", "Transfer_Encoding", "chunked"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := c.in
			if !slices.Contains(in, "User-Agent") {
				in = append(in, "User-Agent", "")
			}
			resp, body := get(t, browser(t), "http://"+addr+"/", in...)
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("%d %s", resp.StatusCode, body)
			}
			want := map[string]string{}
			for _, from := range []map[string]string{none, c.want} {
				for name, value := range from {
					want[name] = value
				}
			}
			for line := range strings.Lines(body) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
				if want[name] != value {
					t.Errorf("%s arrives as %q, want %q", name, value, want[name])
				}
				delete(want, name)
			}
			if len(want) > 0 {
				t.Errorf("these do not arrive: %v", want)
			}
		})
	}
}

// What a service answers, and what comes back.
func TestResponseHeaders(t *testing.T) {
	p := newPlace(t)
	p.behind(nil, easyops.WithHTTPService("page", "/", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Add("Set-Cookie", "a=1")
		h.Add("Set-Cookie", "b=2")
		h.Set("Location", "/elsewhere")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Own", "1")
		h.Set("Keep-Alive", "timeout=5")
		h.Set("Proxy-Authenticate", "Basic")
		h.Set("Connection", "X-Hop")
		h.Set("X-Hop", "1")
		h.Add("Www-Authenticate", "NTLM, Basic realm=\"a, b\"")
		h.Add("Www-Authenticate", "Negotiate")
		h.Add("Www-Authenticate", "Bearer realm=\"x\"")
		w.WriteHeader(http.StatusSeeOther)
	}), everyone))
	e := p.edge("http:\n- {service: page, allow: EVERYONE}\n")
	resp, _ := get(t, browser(t), "http://"+e.Addr().String()+"/")
	if resp.StatusCode != http.StatusSeeOther {
		t.Fatal(resp.Status)
	}
	for name, want := range map[string]string{
		"Set-Cookie": "a=1|b=2", "Location": "/elsewhere", "Cache-Control": "no-store", "X-Own": "1",
		"Keep-Alive": "", "Proxy-Authenticate": "", "Www-Authenticate": "Basic realm=\"a, b\"|Bearer realm=\"x\"", "X-Hop": "", "Connection": "",
	} {
		if got := strings.Join(resp.Header.Values(name), "|"); got != want {
			t.Errorf("%s comes back as %q, want %q", name, got, want)
		}
	}
}

// The metadata of a call that came, and of the one that goes on.
func TestMetadata(t *testing.T) {
	in := metadata.Pairs(
		":authority", "api.example.com", "authorization", "Bearer x", "x-own", "1", "x-own", "2", "trace-bin", "\x00\x01",
		"x-forwarded-for", "1.2.3.4", "x_forwarded_for", "1.2.3.4", "forwarded", "x", "x-remote-user", "root", "easyops-user", "root",
		"easyops-service-authorization", "Bearer y", "user-agent", "u", "content-type", "application/grpc", "te", "trailers", "connection", "close",
		"grpc-timeout", "1S", "grpc-accept-encoding", "gzip", "x-auth-user", "root", "grpc-trace-bin", "t", "authorization_", "z",
	)
	got := metadataFor(in, caller{addr: addrOf("10.0.0.9:77"), tls: true})
	want := metadata.Pairs(
		"authorization", "Bearer x", "x-own", "1", "x-own", "2", "trace-bin", "\x00\x01", "grpc-trace-bin", "t", "authorization_", "z",
		"x-forwarded-for", "10.0.0.9", "x-forwarded-host", "api.example.com", "x-forwarded-proto", "https", "via", "2.0 easyops-edge",
	)
	for name := range want {
		if !slices.Equal(got[name], want[name]) {
			t.Errorf("%s is %q, want %q", name, got[name], want[name])
		}
	}
	for name := range got {
		if want[name] == nil {
			t.Errorf("%s passes", name)
		}
	}
	if got := in.Get("x-forwarded-for"); got[0] != "1.2.3.4" {
		t.Error("the metadata of the call that came was changed")
	}
}

// Who is verified at the edge is the same behind it, and who is nobody is nobody.
func TestIdentityPasses(t *testing.T) {
	p := newPlace(t)
	who := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := "nobody"
		if u := auth.User(r.Context()); u != nil {
			name = u.ID
		}
		if s := auth.Service(r.Context()); s != nil {
			name += " by " + s.ID
		}
		_, _ = w.Write([]byte(name))
	})
	p.behind(nil, easyops.WithHTTPService("page", "/", who), easyops.WithHTTPService("page", "/open", who, everyone),
		easyops.WithHTTPService("page", "/staff", who, auth.Access{Groups: []string{"staff"}}))
	e := p.edge(`http:
- {service: page}
- {service: page, path: /open, allow: EVERYONE}
- {service: page, path: /staff, allow: EVERYONE}
- {service: page, path: /both, groups: [staff]}
`)
	for _, c := range []struct {
		path, token string
		code        int
		want        string
	}{
		{"/", "", 401, ""},
		{"/", "user-alice", 200, "alice"},
		{"/", "user-bob", 200, "bob"},
		{"/", "service-billing", 200, "nobody by billing"},
		{"/", "forged", 401, ""},
		{"/open", "", 200, "nobody"},
		{"/open", "forged", 200, "nobody"}, // neither looks at it
		{"/staff", "", 401, ""},            // the edge lets it through, the service does not
		{"/staff", "forged", 401, ""},
		{"/staff", "user-bob", 403, ""},
		{"/staff", "user-alice", 200, "alice"},
		{"/both", "user-bob", 403, ""},
		{"/both", "user-alice", 200, "alice"},
	} {
		var head []string
		if c.token != "" {
			head = []string{"Authorization", "Bearer " + c.token}
		}
		resp, body := get(t, browser(t), "http://"+e.Addr().String()+c.path, head...)
		if resp.StatusCode != c.code || c.want != "" && body != c.want {
			t.Errorf("%s with %q: %d %s, want %d %s", c.path, c.token, resp.StatusCode, body, c.code, c.want)
		}
	}
}
