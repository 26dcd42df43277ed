package edge

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// tokens verifies those of the tests: "user-alice" is of alice, who is in the group
// staff, "user-bob" of bob, "service-billing" of a service.
var tokens = auth.AuthenticatorFunc(func(_ context.Context, c auth.Credential) (auth.Identity, error) {
	if id, ok := strings.CutPrefix(c.Token, "user-"); ok {
		p := &auth.Principal{ID: id}
		if id == "alice" {
			p.Groups = []string{"staff"}
		}
		return auth.Identity{User: p}, nil
	}
	if id, ok := strings.CutPrefix(c.Token, "service-"); ok {
		return auth.Identity{Service: &auth.Principal{ID: id}}, nil
	}
	return auth.Identity{}, nil
})

// behind starts a server of services behind the edge.
func (p *place) behind(services []easyops.Service, opts ...easyops.ServerOption) *easyops.Server {
	p.t.Helper()
	all := append([]easyops.ServerOption{
		easyops.WithFlags(nil),
		easyops.WithRegistry(p.registry),
		easyops.WithAddr("127.0.0.1:0"),
		easyops.WithAuthenticator(tokens),
		easyops.WithDrainDelay(0),
		easyops.WithStreamGrace(time.Second),
		easyops.WithLogger(slog.New(slog.NewTextHandler(&p.log, nil)).With("behind", len(services))),
	}, opts...)
	s, err := easyops.Start(services, all...)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = s.Shutdown(ctx)
	})
	return s
}

// edge starts an edge whose callers are verified by tokens.
func (p *place) edge(text string) *Edge {
	p.t.Helper()
	c := p.config(text)
	c.Options = append(c.Options, easyops.WithAuthenticator(tokens), easyops.WithDrainDelay(0), easyops.WithStreamGrace(time.Second))
	return p.start(c)
}

// everyone is who may do what.
var everyone = auth.Access{Allow: auth.Everyone}

// browser makes requests that do not share connections with those of other tests.
func browser(t testing.TB) *http.Client {
	t.Helper()
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		Timeout:       20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// get makes a request with headers, as pairs, and returns the answer and its body.
func get(t testing.TB, c *http.Client, url string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	return send(t, c, r, headers...)
}

func send(t testing.TB, c *http.Client, r *http.Request, headers ...string) (*http.Response, string) {
	t.Helper()
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// raw sends what is no request that net/http would make, and returns the answer.
func raw(t testing.TB, addr net.Addr, text string) *http.Response {
	t.Helper()
	conn := dial(t, addr)
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	resp.Body = io.NopCloser(strings.NewReader(string(body)))
	return resp
}

// connect returns a gRPC connection to an address.
func connect(t testing.TB, addr net.Addr, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+addr.String(), append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

// addrOf is an address as net has it.
func addrOf(addr string) net.Addr {
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		panic(err) // the test wrote it
	}
	return a
}
