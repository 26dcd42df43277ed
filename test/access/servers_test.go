package access

import (
	"context"
	"flag"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/easyopstest"
	"github.com/go-easyops/easyops/runtime/flags"
	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/test/access/routes"
	"github.com/go-easyops/easyops/test/serve"
)

// mode is a way to run a server.
type mode struct {
	name string
	// who decides: "local" for whoever runs the server on this machine,
	// "identity" for whom -easyops.operators names, "nobody".
	operators string
	tls       bool
	mtls      bool // services have certificates and no tokens
	apart     bool // the pages have an address of their own
	local     bool // it listens on loopback alone
	metrics   string
	short     bool // it is asked in short runs too
}

var modes = []mode{
	{name: "standalone", operators: "local", local: true},
	{name: "standalone, pages apart", operators: "local", local: true, apart: true, short: true},
	{name: "tokens", operators: "identity", tls: true, metrics: "authenticated"},
	{name: "tokens, pages apart", operators: "identity", tls: true, apart: true},
	{name: "mTLS", operators: "identity", tls: true, mtls: true, short: true},
	{name: "mTLS, pages apart", operators: "identity", tls: true, mtls: true, apart: true, metrics: "everyone"},
	{name: "plaintext with tokens", operators: "identity"},
	{name: "insecure-none", operators: "nobody", short: true},
	{name: "insecure-none, pages apart", operators: "nobody", apart: true},
}

// running is a server of a mode.
type running struct {
	mode
	*easyopstest.Server
	authority  *authority
	statusPort string
	dir        string        // of its registry
	stopped    chan struct{} // closed once it has
	certs      map[string][2][]byte
	limit      *flags.Flag[int]
}

func (m mode) start(t *testing.T) *running {
	t.Helper()
	r := &running{mode: m, dir: shortDir(t), stopped: make(chan struct{}), certs: map[string][2][]byte{}}
	register()
	fs := flag.NewFlagSet("access", flag.PanicOnError)
	easyops.RegisterFlags(fs)
	r.limit = flags.New("access.limit", 1, "a flag of the program's", flags.In(fs))
	host := ":"
	if m.local {
		host = "127.0.0.1:"
	}
	opts := []easyops.ServerOption{
		easyops.WithFlags(fs), easyops.WithAddr(host + "0"), easyops.WithRegistry("local:" + r.dir), easyops.WithLogger(slog.New(slog.DiscardHandler)),
	}
	if m.apart {
		_, r.statusPort, _ = net.SplitHostPort(serve.FreeAddr(t))
		opts = append(opts, easyops.WithStatusAddr(host+r.statusPort))
	}
	if m.tls {
		r.authority = newAuthority(t)
		cert, key := r.authority.files("server")
		opts = append(opts, easyops.WithTLSFiles(cert, key, r.authority.file()))
		for _, name := range []string{"billing", "deployer"} {
			cert, key := r.authority.service(name)
			r.certs[name] = [2][]byte{cert, key}
		}
	}
	if m.mtls {
		opts = append(opts, easyops.WithAuth("mtls"))
	}
	if m.metrics != "" {
		opts = append(opts, easyops.WithMetricsAccess(m.metrics))
	}
	services := []easyops.Service{echov1.BindEchoServiceServer(echov1.UnimplementedEchoServiceServer{})}
	switch m.operators {
	case "identity":
		opts = append(opts, easyops.WithOperators("user:root,service:deployer"))
		if !m.tls {
			opts = append(opts, easyops.WithInsecurePlaintext())
		}
		r.Server = easyopstest.Start(t, services, opts...)
	case "nobody":
		r.Server = easyopstest.StartStandalone(t, services, append(opts, easyops.WithAuth("insecure-none"))...)
	default:
		r.Server = easyopstest.StartStandalone(t, services, opts...)
	}
	go func() {
		defer close(r.stopped)
		_ = r.Wait()
	}()
	<-r.Ready()
	r.awaitListed(t)
	return r
}

// shortDir is a directory whose path has room for a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "access-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// listed tells whether the registry lists the server.
func (r *running) listed(t *testing.T) (listed bool) {
	t.Helper()
	reg, err := registry.Open("local:"+r.dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer reg.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	reg.Watch(ctx, "echo.v1.EchoService", func(list []registry.Instance, err error) {
		if err != nil && ctx.Err() == nil {
			t.Errorf("registry: %v", err)
		}
		if ctx.Err() == nil {
			listed = len(list) > 0
		}
		cancel()
	})
	return listed
}

func (r *running) awaitListed(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !r.listed(t); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the registry does not list the server")
		}
	}
}

func (r *running) scheme() string {
	if r.tls {
		return "https"
	}
	return "http"
}

// port is that of the pages, or of gRPC where the pages have one of their own.
func (r *running) port(name string) string {
	if name == "pages" && r.apart {
		return r.statusPort
	}
	_, port, _ := net.SplitHostPort(r.Addr().String())
	return port
}

// question asks for a path at the port of that name, from an address.
func (r *running) question(who, from, port, method, path string) question {
	to := "127.0.0.1"
	if !strings.HasPrefix(from, "127.") && !r.local {
		to = from
	}
	q := question{From: from, Method: method, URL: r.scheme() + "://" + net.JoinHostPort(to, r.port(port)) + path, Header: http.Header{}}
	if r.tls {
		q.CA = r.authority.ca
	}
	bearer := func(token string) { q.Header.Set("Authorization", "Bearer "+token) }
	certificate := func(name string) { q.Cert, q.Key = r.certs[name][0], r.certs[name][1] }
	switch who {
	case "user":
		bearer(easyopstest.UserToken("alice", "staff"))
	case "service":
		if r.mtls {
			certificate("billing")
		} else {
			bearer(easyopstest.ServiceToken("billing"))
		}
	case "operator":
		if r.mtls {
			certificate("deployer")
		} else if r.operators == "identity" {
			bearer(easyopstest.UserToken("root"))
		} // else whoever sends nothing and is in the right place
	}
	return q
}

// routes are the pages of a server of the mode. Where nobody is operator, they are
// those of a standalone server.
func (m mode) routes(t *testing.T) []routes.Route {
	t.Helper()
	if m.operators == "nobody" {
		m = mode{name: "standalone", operators: "local", local: true, apart: m.apart}
	}
	r, a := m.start(t), asker{}
	defer a.close()
	all, err := routes.Of(func(path, accept string) (int, string, error) {
		q := r.question("operator", "127.0.0.1", "pages", http.MethodGet, path)
		q.Header.Set("Accept", accept)
		got := a.ask(q)
		return got.Code, got.Body + got.Err, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
