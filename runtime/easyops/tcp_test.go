package easyops_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/registry"
)

// sameLines answers each line by the same one, until the server drains.
func sameLines(ctx context.Context, nc net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = nc.SetReadDeadline(time.Now()) })
	defer stop()
	for in := bufio.NewScanner(nc); in.Scan(); {
		fmt.Fprintln(nc, in.Text())
	}
}

// startTCP starts a server of its own registry and returns the name of that.
func startTCP(t *testing.T, opts ...easyops.ServerOption) (s *easyops.Server, where string) {
	t.Helper()
	where = "local:" + shortDir(t)
	all := append([]easyops.ServerOption{apart(easyops.WithRegistry(where)), easyops.WithAddr("127.0.0.1:0"), easyops.WithDrainDelay(0)}, opts...)
	s = easyops.NewServer(all...)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Shutdown(context.Background()) })
	return s, where
}

// connect connects to a TCP service of the server.
func connect(t *testing.T, s *easyops.Server, name string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", s.TCPAddr(name).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	return nc
}

// tellLine says a line, if there is one, and expects an answer.
func tellLine(t *testing.T, nc net.Conn, line, want string) {
	t.Helper()
	if line != "" {
		fmt.Fprintln(nc, line)
	}
	b := make([]byte, len(want)+1)
	if _, err := io.ReadFull(nc, b); err != nil || string(b) != want+"\n" {
		t.Errorf("heard %q, %v; want %q", b, err, want)
	}
}

// listedAs waits until a service is listed in a registry as is wanted.
func listedAs(t *testing.T, where, service string, is func([]registry.Instance) bool) registry.Instance {
	t.Helper()
	r, err := registry.Open(where, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(within(t, 10*time.Second))
	defer cancel()
	var last []registry.Instance
	found := false
	r.Watch(ctx, service, func(all []registry.Instance, err error) {
		if last = all; err == nil && is(all) {
			found = true
			cancel()
		}
	})
	if !found {
		t.Fatalf("%s is listed as %+v", service, last)
	}
	if len(last) == 0 {
		return registry.Instance{}
	}
	return last[0]
}

func isThere(all []registry.Instance) bool { return len(all) == 1 }

// TestRegisteredByName: each kind of service is listed by its name, and a name that is
// of two kinds once.
func TestRegisteredByName(t *testing.T) {
	nothing := http.NotFoundHandler()
	s, where := startBoth(t, easyops.WithTCP("lines", "", sameLines), easyops.WithTCP("more-lines", "127.0.0.1:0", sameLines),
		easyops.WithHTTPService("page", "/page/", nothing), easyops.WithHTTPService("page", "/other/", nothing),
		easyops.WithHTTPService("test.trust.Open", "/open/", nothing), easyops.WithHTTP("/unnamed/", nothing))
	for _, c := range []struct {
		service, addr, statusAddr string
		kinds                     []registry.Kind
	}{
		{"test.trust.Open", s.Addr().String(), "", []registry.Kind{"grpc", "http", "status"}},
		{"test.trust.Own", s.Addr().String(), "", []registry.Kind{"grpc", "status"}},
		{"page", s.Addr().String(), "", []registry.Kind{"http", "status"}},
		{"lines", s.TCPAddr("lines").String(), s.Addr().String(), []registry.Kind{"tcp", "status"}},
		{"more-lines", s.TCPAddr("more-lines").String(), s.Addr().String(), []registry.Kind{"tcp", "status"}},
	} {
		i := listedAs(t, where, c.service, isThere)
		if i.Addr != c.addr || i.StatusAddr != c.statusAddr || !slices.Equal(i.Kinds, c.kinds) || i.Health != registry.Ready {
			t.Errorf("%s is listed as %+v", c.service, i)
		}
	}
	if s.TCPAddr("page") != nil {
		t.Error("a page has a TCP port")
	}
	_ = s.Shutdown(t.Context())
	listedAs(t, where, "lines", func(all []registry.Instance) bool { return len(all) == 0 })
}

// startBoth starts a server of gRPC services and others.
func startBoth(t *testing.T, opts ...easyops.ServerOption) (*easyops.Server, string) {
	t.Helper()
	where := "local:" + shortDir(t)
	s, err := easyops.Start([]easyops.Service{trustService("test.trust.Open"), trustService("test.trust.Own")},
		append(opts, apart(easyops.WithRegistry(where)))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Shutdown(context.Background()) })
	return s, where
}

// TestWithoutGRPC: servers that have no gRPC service come and go as others do.
func TestWithoutGRPC(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") })
	for name, test := range map[string]struct {
		opt     easyops.ServerOption
		service string
		use     func(*testing.T, *easyops.Server)
	}{
		"TCP": {easyops.WithTCP("lines", "", sameLines), "lines", func(t *testing.T, s *easyops.Server) {
			tellLine(t, connect(t, s, "lines"), "hello", "hello")
		}},
		"HTTP": {easyops.WithHTTPService("page", "/page", page), "page", func(t *testing.T, s *easyops.Server) {
			if code, body := get(t, "http://"+s.Addr().String()+"/page"); code != 200 || body != "hello\n" {
				t.Errorf("%d %q", code, body)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			log := &logs{}
			s, where := startTCP(t, test.opt, easyops.WithLogger(log.logger()), easyops.WithDrainDelay(300*time.Millisecond))
			<-s.Ready()
			test.use(t, s)
			listedAs(t, where, test.service, isThere)
			at := "http://" + s.Addr().String()
			for path, want := range map[string]string{
				"/readyz": "ok", "/internal/health": "READY", "/internal/service-info/name": test.service, "/internal/help": "registered",
				"/internal/": "", "/internal/service-info/api": "", "/internal/service-info/grpc-connections": "",
				"/metrics": `easyops_registry_state{state="registered"} 1`,
			} {
				code, body := get(t, at+path)
				if code != 200 {
					t.Errorf("%s: %d %.200s", path, code, body)
				}
				mustContain(t, body, want)
			}
			stopped := make(chan error, 1)
			go func() { stopped <- s.Shutdown(context.Background()) }()
			listedAs(t, where, test.service, func(all []registry.Instance) bool { return len(all) == 1 && all[0].Health == registry.Stopping })
			test.use(t, s) // for as long as the drain delay
			if err := <-stopped; err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			listedAs(t, where, test.service, func(all []registry.Instance) bool { return len(all) == 0 })
		})
	}
	mustContain(t, startFault(t, nil).Error(), "there is nothing to serve")
}

func TestTCPFaults(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.issue(t, "lines")
	files := easyops.WithTLSFiles(cert, key, a.file)
	ruled := easyops.TCPTLS(auth.Access{Services: []string{"shop"}})
	jwks := "jwks:" + a.dir + "/keys.json?issuer=i&audience=a"
	nothing := http.NotFoundHandler()
	for name, test := range map[string]struct {
		opts []easyops.ServerOption
		want []string
	}{
		"no handler":        {opt(easyops.WithTCP("lines", "", nil)), []string{`WithTCP("lines"): the handler is nil`}},
		"no name":           {opt(easyops.WithTCP("", "", sameLines)), []string{`WithTCP(""): not a name`}},
		"bad name":          {opt(easyops.WithTCP("a/b", "", sameLines)), []string{`WithTCP("a/b"): not a name`}},
		"bad address":       {opt(easyops.WithTCP("lines", "5432", sameLines)), []string{`WithTCP("lines")`, `"5432"`, "host:port"}},
		"twice":             {opt(easyops.WithTCP("lines", "", sameLines), easyops.WithTCP("lines", "", sameLines)), []string{`WithTCP("lines")`, "another TCP service", "same name"}},
		"name of gRPC":      {opt(easyops.WithTCP("test.trust.Open", "", sameLines)), []string{"a gRPC service", "same name"}},
		"name of HTTP":      {opt(easyops.WithTCP("page", "", sameLines), easyops.WithHTTPService("page", "/page", nothing)), []string{"an HTTP service", "same name"}},
		"no proxies":        {opt(easyops.WithTCP("lines", "", sameLines, easyops.TCPProxyProtocol())), []string{"TCPProxyProtocol", "10.0.0.0/8"}},
		"bad proxies":       {opt(easyops.WithTCP("lines", "", sameLines, easyops.TCPProxyProtocol("10.1.2.3/8", "proxy.example.com", "::1"))), []string{`"10.1.2.3/8"`, `"proxy.example.com"`}},
		"limit":             {opt(easyops.WithTCP("lines", "", sameLines, easyops.TCPLimit(0))), []string{"TCPLimit(0)", "1 or more"}},
		"TLS without files": {opt(easyops.WithTCP("lines", "", sameLines, easyops.TCPTLS())), []string{"TCPTLS", "-easyops.tls-cert", "EASYOPS_TLS_CERT"}},
		"two rules":         {opt(files, easyops.WithTCP("lines", "", sameLines, easyops.TCPTLS(auth.Access{}, auth.Access{}))), []string{"TCPTLS: 2 access rules"}},
		"bad rule":          {opt(files, easyops.WithTCP("lines", "", sameLines, easyops.TCPTLS(auth.Access{Allow: 9}))), []string{"TCPTLS", "Allow(9)"}},
		"rule for nobody":   {opt(files, easyops.WithTCP("lines", ":0", sameLines, ruled)), []string{"callers are not authenticated", "-easyops.auth", "mtls"}},
		"rule for tokens":   {opt(files, easyops.WithAuth(jwks), easyops.WithTCP("lines", "", sameLines, ruled)), []string{"only a certificate can say who calls", "mtls"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := startFault(t, []easyops.Service{trustService("test.trust.Open")}, test.opts...)
			mustContain(t, err.Error(), test.want...)
			if name == "bad proxies" && strings.Contains(err.Error(), "::1") {
				t.Errorf("what is right is said to be wrong: %v", err)
			}
		})
	}
}

func opt(opts ...easyops.ServerOption) []easyops.ServerOption { return opts }

// TestTCPPortInUse: the error names the option, and nothing is left open.
func TestTCPPortInUse(t *testing.T) {
	taken := listen(t)
	free := listen(t)
	free.Close()
	err := startFault(t, nil, easyops.WithTCP("one", free.Addr().String(), sameLines), easyops.WithTCP("two", taken.Addr().String(), sameLines))
	mustContain(t, err.Error(), taken.Addr().String(), "in use", `WithTCP("two")`)
	again, err := net.Listen("tcp", free.Addr().String())
	if err != nil {
		t.Fatalf("the port of the first was not given back: %v", err)
	}
	again.Close()
}

// TestTCPDrain: handlers are told by their context when the drain delay is over, and
// by Draining, and what they leave is cut at the timeout and named.
func TestTCPDrain(t *testing.T) {
	log := &logs{}
	s, _ := startTCP(t, easyops.WithLogger(log.logger()), easyops.WithDrainDelay(200*time.Millisecond), easyops.WithShutdownTimeout(2*time.Second),
		easyops.WithTCP("lines", "", sameLines),
		easyops.WithTCP("told", "", func(ctx context.Context, nc net.Conn) {
			fmt.Fprintln(nc, "here")
			<-ctx.Done()
			<-easyops.Draining(ctx)
			fmt.Fprintln(nc, context.Cause(ctx))
		}),
		easyops.WithTCP("deaf", "", func(_ context.Context, nc net.Conn) {
			fmt.Fprintln(nc, "here")
			_, _ = io.Copy(io.Discard, nc)
		}))
	told, deaf := connect(t, s, "told"), connect(t, s, "deaf")
	tellLine(t, told, "", "here")
	tellLine(t, deaf, "", "here")
	stopped := make(chan error, 1)
	begun := time.Now()
	go func() { stopped <- s.Shutdown(context.Background()) }()
	b, err := io.ReadAll(told)
	if string(b) != "the server drains\n" || err != nil {
		t.Errorf("told: %q, %v", b, err)
	}
	if took := time.Since(begun); took < 200*time.Millisecond || took > 1500*time.Millisecond {
		t.Errorf("told after %v", took)
	}
	err = <-stopped
	if took := time.Since(begun); took < 1700*time.Millisecond || took > 5*time.Second {
		t.Errorf("stopped after %v", took)
	}
	if err == nil {
		t.Fatal("Shutdown: nothing was cut off")
	}
	mustContain(t, err.Error(), "TCP connections of deaf were cut off (1): "+deaf.LocalAddr().String())
	cut := log.with(t, "connection cut off")
	if len(cut) != 1 || cut[0]["service"] != "deaf" {
		t.Errorf("the log has %v", cut)
	}
}

// TestTCPAdvertised: where the registry is not of this machine alone, each listener is
// listed by an address of its own.
func TestTCPAdvertised(t *testing.T) {
	own := outside(t)
	for _, test := range []struct{ name, hosts, addr, advertise, want string }{
		{"all interfaces", own + ":2379", ":0", "", own},
		{"free port", own + ":2379", "", "", own},
		{"one address", own + ":2379", own + ":0", "", own},
		{"loopback", own + ":2379", "127.0.0.1:0", "", "127.0.0.1"},
		{"advertised", own + ":2379", ":0", "lines.example:4100", "lines.example"},
		{"registry here", "127.0.0.1:2379", ":0", "", "127.0.0.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var (
				b board
				l logs
			)
			s := startOff(t, &l, echoService(), easyops.WithAuth("insecure-none"), easyops.WithRegistry(b.open(test.hosts)),
				easyops.WithAddr(":0"), easyops.WithAdvertise(test.advertise), easyops.WithTCP("lines", test.addr, sameLines))
			_, tcpPort, _ := net.SplitHostPort(s.TCPAddr("lines").String())
			for range 2 { // the second time by Update
				got := <-b.listed
				host, port, _ := net.SplitHostPort(got.Addr)
				if host != test.want || port != tcpPort || got.StatusAddr == "" || got.StatusAddr == got.Addr {
					t.Errorf("listed as %q and %q", got.Addr, got.StatusAddr)
				}
				_ = s.Shutdown(t.Context())
			}
		})
	}
}

// TestTCPListedBesideUnlistable: that the address of one service cannot be listed is
// said, and keeps none of the others from being found.
func TestTCPListedBesideUnlistable(t *testing.T) {
	unix, err := net.Listen("unix", filepath.Join(shortDir(t), "s"))
	if err != nil {
		t.Fatal(err)
	}
	log := &logs{}
	_, where := startTCP(t, easyops.WithAddr(""), easyops.WithListener(unix), easyops.WithLogger(log.logger()),
		easyops.WithHTTPService("page", "/page/", http.NotFoundHandler()), easyops.WithHTTPService("other-page", "/other/", http.NotFoundHandler()),
		easyops.WithTCP("lines", "", sameLines))
	i := listedAs(t, where, "lines", isThere)
	if i.StatusAddr != "" || !slices.Equal(i.Kinds, []registry.Kind{registry.KindTCP}) || i.Health != registry.Ready {
		t.Errorf("it is listed as %+v", i)
	}
	listedAs(t, where, "page", func(all []registry.Instance) bool { return len(all) == 0 })
	warned := log.with(t, "not listed in the registry: advertise an address that clients can connect to (-easyops.advertise)")
	if len(warned) != 1 || fmt.Sprint(warned[0]["service"]) != "[page other-page]" {
		t.Errorf("the log has %v", warned)
	}
}

// TestTCPWork: a panic is one connection's, what Go runs belongs to the server, and
// both are seen.
func TestTCPWork(t *testing.T) {
	log := &logs{}
	ended := make(chan struct{})
	s, _ := startTCP(t, easyops.WithLogger(log.logger()), easyops.WithTCP("lines", "", func(ctx context.Context, nc net.Conn) {
		switch line, _ := bufio.NewReader(nc).ReadString('\n'); line {
		case "panic\n":
			panic("boom")
		case "go\n":
			easyops.Go(ctx, func(ctx context.Context) {
				<-ctx.Done()
				close(ended)
			})
		case "limit\n":
			<-ctx.Done()
		}
	}, easyops.TCPLimit(1), easyops.TCPProxyProtocol("192.0.2.0/24")))
	one := connect(t, s, "lines")
	fmt.Fprintln(one, "panic")
	if n, err := one.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Errorf("read %d, %v; want the connection closed", n, err)
	}
	panics := log.with(t, "panic")
	if len(panics) != 1 || panics[0]["in"] != "TCP lines" || panics[0]["peer"] != one.LocalAddr().String() || !strings.Contains(panics[0]["stack"].(string), "TestTCPWork") {
		t.Errorf("the log has %v", panics)
	}
	two := awaitRoom(t, s, "go")
	_, _ = io.ReadAll(two)
	awaitRoom(t, s, "limit")
	full := connect(t, s, "lines")
	_, _ = io.ReadAll(full)
	at := "http://" + s.Addr().String()
	_, text := get(t, at+"/metrics")
	mustContain(t, text, `easyops_panics_total{where="tcp"} 1`, `easyops_tcp_connections{service="lines"} 1`,
		`easyops_tcp_connections_refused_total{reason="limit",service="lines"} `, `easyops_tcp_connections_accepted_total{service="lines"} 3`,
		`easyops_tcp_received_bytes_total{service="lines"} 15`, `easyops_tcp_sent_bytes_total{service="lines"} 0`)
	_, page := get(t, at+"/internal/service-info/grpc-connections")
	mustContain(t, page, "TCP services", "TCP lines", s.TCPAddr("lines").String())
	_, page = get(t, at+"/internal/service-info/grpc-connections?format=json")
	mustContain(t, page, `"tcp_services"`, `"protocol": "TCP lines"`)
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	select {
	case <-ended:
	default:
		t.Error("what Go runs outlives the server")
	}
}

// awaitRoom connects and says a line, once the connection before is gone: there is
// room for one.
func awaitRoom(t *testing.T, s *easyops.Server, line string) net.Conn {
	t.Helper()
	for ctx := within(t, 10*time.Second); ctx.Err() == nil; time.Sleep(time.Millisecond) {
		_, text := get(t, "http://"+s.Addr().String()+"/metrics")
		if strings.Contains(text, `easyops_tcp_connections{service="lines"} 0`) {
			nc := connect(t, s, "lines")
			fmt.Fprintln(nc, line)
			return nc
		}
	}
	t.Fatal("there is never room")
	return nil
}

// issueFor makes a certificate of a client that lasts so long.
func (a *authority) issueFor(t *testing.T, name string, d time.Duration) tls.Certificate {
	t.Helper()
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(3), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(d),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// whoAmI says who calls, and stays.
func whoAmI(ctx context.Context, nc net.Conn) {
	who := "nobody"
	if s := auth.Service(ctx); s != nil {
		who = s.ID
	}
	fmt.Fprintln(nc, who)
	_, _ = io.Copy(io.Discard, nc)
}

// TestTCPTLS: a rule is for certificates, and they end with their time.
func TestTCPTLS(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.issue(t, "open", "ruled", "anyone")
	log := &logs{}
	s, _ := startTCP(t, easyops.WithLogger(log.logger()), easyops.WithAuth("mtls"), easyops.WithTLSFiles(cert, key, a.file),
		easyops.WithTCP("open", "127.0.0.1:0", whoAmI, easyops.TCPTLS()),
		easyops.WithTCP("ruled", "127.0.0.1:0", whoAmI, easyops.TCPTLS(auth.Access{Services: []string{"shop"}})),
		easyops.WithTCP("anyone", "127.0.0.1:0", whoAmI, easyops.TCPTLS(auth.Access{Allow: auth.Everyone})))
	shop, other, short := a.issueFor(t, "shop", time.Hour), a.issueFor(t, "other", time.Hour), a.issueFor(t, "shop", 2*time.Second)
	stranger := newAuthority(t).issueFor(t, "shop", time.Hour)
	dial := func(name string, certs ...tls.Certificate) *tls.Conn {
		cfg := a.client()
		cfg.ServerName, cfg.Certificates = name, certs
		return tls.Client(connect(t, s, name), cfg)
	}
	for _, test := range []struct {
		service string
		certs   []tls.Certificate
		want    string // "" for closed
	}{
		{"open", nil, "nobody"},
		{"anyone", nil, "nobody"},
		{"ruled", nil, ""},
		{"ruled", []tls.Certificate{shop}, "shop"},
		{"ruled", []tls.Certificate{other}, ""},
		{"ruled", []tls.Certificate{stranger}, ""},
		{"ruled", []tls.Certificate{other}, ""},
	} {
		nc := dial(test.service, test.certs...)
		if test.want != "" {
			tellLine(t, nc, "", test.want)
			continue
		}
		if b, err := io.ReadAll(nc); len(b) > 0 {
			t.Errorf("%s with %v: heard %q, %v", test.service, test.certs, b, err)
		}
	}
	refused := log.with(t, "connection refused")
	if len(refused) < 2 { // one a second and reason
		t.Errorf("the log has %v", refused)
	}
	nc := dial("ruled", short)
	tellLine(t, nc, "", "shop")
	if b, err := io.ReadAll(nc); len(b) > 0 || err != nil {
		t.Errorf("at the end of the certificate: %q, %v", b, err)
	}
	if len(log.with(t, "connection closed: the certificate of its client has expired")) != 1 {
		t.Error("the log does not say why")
	}
	// An SNI or protocol that is not known here is none of its business.
	cfg := a.client()
	cfg.ServerName, cfg.NextProtos = "open", []string{"lines/1"}
	tellLine(t, tls.Client(connect(t, s, "open"), cfg), "", "nobody")
}

// TestTCPTLSStandalone: where nobody is authenticated rules pass, as they do for
// methods.
func TestTCPTLSStandalone(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.issue(t, "ruled")
	ruled := easyops.WithTCP("ruled", "", whoAmI, easyops.TCPTLS(auth.Access{Services: []string{"shop"}}))
	for name, opts := range map[string][]easyops.ServerOption{
		"standalone":    nil,
		"insecure-none": {easyops.WithAuth("insecure-none")},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := startTCP(t, append(opts, easyops.WithTLSFiles(cert, key, a.file), ruled)...)
			cfg := a.client()
			cfg.ServerName = "ruled"
			tellLine(t, tls.Client(connect(t, s, "ruled"), cfg), "", "nobody")
			host, _, _ := net.SplitHostPort(s.TCPAddr("ruled").String())
			if got := net.ParseIP(host).IsLoopback(); got != (name == "standalone") {
				t.Errorf("it listens on %s", host)
			}
		})
	}
}
