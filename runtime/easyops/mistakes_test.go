package easyops_test

import (
	"context"
	"flag"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lis.Close() })
	return lis
}

// TestPortInUse: the error names the setting, nothing is listed, and whoever
// has the port goes on, in this process or another.
func TestPortInUse(t *testing.T) {
	for name, first := range map[string]func(*testing.T) (string, echov1.EchoServiceClient){
		"of a server in this process": func(t *testing.T) (string, echov1.EchoServiceClient) {
			s := startEcho(t)
			return s.Addr().String(), dialEcho(t, s.Client())
		},
		"of another process": func(t *testing.T) (string, echov1.EchoServiceClient) {
			p := serve(t, "serve")
			return p.addr, p.client
		},
	} {
		t.Run(name, func(t *testing.T) {
			addr, client := first(t)
			say(t, client, "before")
			r := &watched{}
			url := r.open()
			err := startFault(t, echoService(), easyops.WithAddr(addr), easyops.WithRegistry(url))
			mustContain(t, err.Error(), addr, "in use", "-easyops.addr", "EASYOPS_ADDR")
			err = startFault(t, echoService(), easyops.WithStatusAddr(addr), easyops.WithRegistry(url))
			mustContain(t, err.Error(), addr, "in use", "-easyops.status-addr", "EASYOPS_STATUS_ADDR")
			if r.registered.Load() != 0 {
				t.Error("a server that did not start was registered")
			}
			say(t, client, "after")
		})
	}
}

// TestSameFlagsTwice: a second server of the same process and the same flags
// fails in the same way.
func TestSameFlagsTwice(t *testing.T) {
	s, fs := startOnFreePort(t)
	mustContain(t, startFault(t, echoService(), easyops.WithFlags(fs)).Error(), s.Addr().String(), "in use", "-easyops.addr")
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// startOnFreePort serves on a port that was free a moment ago, by flags.
func startOnFreePort(t *testing.T) (*easyops.Server, *flag.FlagSet) {
	t.Helper()
	for range 10 {
		lis := listen(t)
		lis.Close()
		fs := flag.NewFlagSet("program", flag.ContinueOnError)
		easyops.RegisterFlags(fs)
		if err := fs.Parse([]string{"-easyops.addr", lis.Addr().String(), "-easyops.registry=none"}); err != nil {
			t.Fatal(err)
		}
		if s, err := echov1.StartEchoServiceServer(echo{}, apart(), easyops.WithFlags(fs)); err == nil {
			return s, fs
		}
	}
	t.Fatal("others take every port")
	return nil, nil
}

// TestTwoServers: two in one process have nothing to do with each other.
func TestTwoServers(t *testing.T) {
	a, b := startEcho(t), startEcho(t)
	say(t, dialEcho(t, a.Client()), "a")
	if err := a.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	say(t, dialEcho(t, b.Client()), "b")
	code, body := get(t, "http://"+b.Addr().String()+"/metrics")
	if code != http.StatusOK || !strings.Contains(body, `grpc_server_call_started_total{grpc_method="echo.v1.EchoService/Echo"} 1`) {
		t.Errorf("metrics of one server count calls of the other:\n%d %.2000s", code, body)
	}
}

// nilInside embeds the generated struct in the way that its comment warns of.
type nilInside struct {
	*echov1.UnimplementedEchoServiceServer
}

// TestServices: what is wrong with what is to be served.
func TestServices(t *testing.T) {
	good := echov1.BindEchoServiceServer(echo{})
	for _, test := range []struct {
		name     string
		services []easyops.Service
		want     []string
	}{
		{"nil interface", []easyops.Service{echov1.BindEchoServiceServer(nil)}, []string{"implementation", "nil"}},
		{"nil pointer", []easyops.Service{echov1.BindEchoServiceServer((*echo)(nil))}, []string{"*easyops_test.echo", "not nil"}},
		{"nil embedded", []easyops.Service{echov1.BindEchoServiceServer(nilInside{})}, []string{"nilInside", "by value"}},
		{"twice", []easyops.Service{good, good}, []string{"echo.v1.EchoService", "twice"}},
		{"nothing", nil, []string{"nothing to serve"}},
		{"zero Service", []easyops.Service{{}}, []string{"Bind"}},
		{"register function without effect", []easyops.Service{easyops.Bind(func(grpc.ServiceRegistrar, echov1.EchoServiceServer) {}, echov1.EchoServiceServer(echo{}), nil)}, []string{"registered no service"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			mustContain(t, startFault(t, test.services).Error(), test.want...)
		})
	}
}

// TestRegisteredByHand: the same for services that are registered on a server.
func TestRegisteredByHand(t *testing.T) {
	for _, test := range []struct {
		name     string
		register func(*easyops.Server)
		want     []string
	}{
		{"wrong type", func(s *easyops.Server) { s.RegisterService(&echov1.EchoService_ServiceDesc, "a string") }, []string{"echo.v1.EchoService", "string does not implement"}},
		{"nil", func(s *easyops.Server) { s.RegisterService(&echov1.EchoService_ServiceDesc, nil) }, []string{"echo.v1.EchoService", "nil"}},
		{"twice", func(s *easyops.Server) {
			echov1.RegisterEchoServiceServer(s, echo{})
			echov1.RegisterEchoServiceServer(s, echo{})
		}, []string{"echo.v1.EchoService", "twice"}},
		{"nothing", func(*easyops.Server) {}, []string{"nothing to serve"}},
		{"several faults", func(s *easyops.Server) {
			s.RegisterService(&echov1.EchoService_ServiceDesc, 1)
			s.RegisterService(&healthpb.Health_ServiceDesc, 2)
		}, []string{"int does not implement echov1", "the runtime serves grpc.health.v1.Health itself"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := easyops.NewServer(apart())
			test.register(s)
			err := s.Start()
			if err == nil {
				s.Shutdown(t.Context())
				t.Fatal("the server was started")
			}
			mustContain(t, err.Error(), test.want...)
		})
	}
}

func init() {
	programs["own health"] = func() {
		s := easyops.NewServer(apart())
		healthpb.RegisterHealthServer(s, healthpb.UnimplementedHealthServer{})
		reportStart(s)
	}
	programs["own reflection"] = func() {
		s := easyops.NewServer(apart())
		echov1.RegisterEchoServiceServer(s, echo{})
		reflection.Register(s)
		reportStart(s)
	}
	programs["info of faults"] = func() {
		s := easyops.NewServer(apart())
		echov1.RegisterEchoServiceServer(s, echo{})
		echov1.RegisterEchoServiceServer(s, echo{})
		s.GetServiceInfo()
		reportStart(s)
	}
}

// reportStart prints how a start went.
func reportStart(s *easyops.Server) {
	err := s.Start()
	if err == nil {
		err = s.Shutdown(context.Background())
	}
	if err != nil {
		os.Stdout.WriteString(err.Error())
		return
	}
	os.Stdout.WriteString("served")
}

// TestServicesOfTheRuntime: a program that brings services which the runtime
// has itself is told, or served; grpc-go would end the process.
func TestServicesOfTheRuntime(t *testing.T) {
	for program, want := range map[string]string{
		"own health":     "grpc.health.v1.Health",
		"own reflection": "grpc.reflection.v1.ServerReflection",
		"info of faults": "twice",
	} {
		t.Run(program, func(t *testing.T) {
			out, err := startProgram(t, program).CombinedOutput()
			if err != nil {
				t.Errorf("%v", err)
			}
			mustContain(t, string(out), want)
		})
	}
}

// TestUnknownRegistry: for servers and clients.
func TestUnknownRegistry(t *testing.T) {
	for _, test := range []struct {
		url  string
		want []string
	}{
		{"zookeeper://host", []string{`"zookeeper://host"`, "local", "none", "-easyops.registry", "EASYOPS_REGISTRY"}},
		{"consul://ann:secret@host:2379", []string{`"consul://…@host:2379" is unknown`, "local", "none"}},
		{"etcd://ann:secret@host:2379", []string{`"etcd://…@host:2379"`, `import _ "github.com/go-easyops/easyops/runtime/registry/etcd"`}},
		{"local:", []string{`"local:"`, "directory"}},
	} {
		err := startFault(t, echoService(), easyops.WithRegistry(test.url))
		mustContain(t, err.Error(), test.want...)
		conn, err := easyops.Dial("echo.v1.EchoService", apart(easyops.WithRegistry(test.url)))
		if err == nil {
			conn.Close()
			t.Fatal("dialled")
		}
		mustContain(t, err.Error(), append(test.want, "echo.v1.EchoService")...)
	}
}

// TestAllFaultsAtOnce: what only a start finds out is reported with the rest,
// a line a fault.
func TestAllFaultsAtOnce(t *testing.T) {
	env := map[string]string{
		"EASYOPS_ADDR": "4100", "EASYOPS_ADVERTISE": "nowhere", "EASYOPS_STATUS_ADDR": "4101", "EASYOPS_REGISTRY": "zookeeper://host",
		"EASYOPS_AUTH": "jwks:file", "EASYOPS_TLS_CERT": "/missing/cert", "EASYOPS_TLS_KEY": "/missing/key", "EASYOPS_TAGS": "zone",
		"EASYOPS_METRICS": "all", "EASYOPS_DRAIN_DELAY": "soon", "EASYOPS_LOG_LEVEL": "loud",
	}
	for name, value := range env {
		t.Setenv(name, value)
	}
	fs := flag.NewFlagSet("program", flag.ContinueOnError)
	easyops.RegisterFlags(fs)
	_, err := easyops.Start(nil, easyops.WithFlags(fs), easyops.WithHTTP("/livez", http.NotFoundHandler()))
	if err == nil {
		t.Fatal("the server was started")
	}
	for name, value := range env {
		flag := "-easyops." + strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "EASYOPS_"), "_", "-"))
		found := false
		for line := range strings.Lines(err.Error()) {
			found = found || strings.Contains(line, name) && strings.Contains(line, flag) && strings.Contains(line, value)
		}
		if !found {
			t.Errorf("no line names %s, %s and %q", flag, name, value)
		}
	}
	mustContain(t, err.Error(), "/livez")
	if t.Failed() {
		t.Log(err)
	}
}

// TestWhatTheRegistryRefuses is found at the start, not for ever after in the
// log of a server that nobody finds.
func TestWhatTheRegistryRefuses(t *testing.T) {
	for _, test := range []struct {
		option easyops.ServerOption
		want   string
	}{
		{easyops.WithAdvertise("0.0.0.0:4100"), "advertise"},
		{easyops.WithAdvertise("10.0.0.7:0"), "advertise"},
		{easyops.WithTags("zone of mine", "a"), "tag"},
		{easyops.WithTags("zone", "a\nb"), "tag"},
		{easyops.WithOwner("ann\x00"), "owner"},
	} {
		s, err := easyops.Start(echoService(), apart(), test.option)
		if err == nil {
			s.Shutdown(t.Context())
			t.Errorf("%s: the server was started", test.want)
			continue
		}
		mustContain(t, err.Error(), test.want)
	}
}

// TestPorts: addresses that cannot be are found with everything else.
func TestPorts(t *testing.T) {
	err := startFault(t, echoService(), easyops.WithAddr("127.0.0.1:99999"), easyops.WithStatusAddr("127.0.0.1:none"))
	mustContain(t, err.Error(), "127.0.0.1:99999", "-easyops.addr", "127.0.0.1:none", "-easyops.status-addr")
}

// TestSameAddressTwice: no other process is to blame.
func TestSameAddressTwice(t *testing.T) {
	err := startFault(t, echoService(), easyops.WithAddr("127.0.0.1:4100"), easyops.WithStatusAddr("127.0.0.1:4100"))
	mustContain(t, err.Error(), "127.0.0.1:4100", "-easyops.addr", "-easyops.status-addr")
	if strings.Contains(err.Error(), "another process") {
		t.Error(err)
	}
}

// TestNilFunctions are said at the start, not when they would be called.
func TestNilFunctions(t *testing.T) {
	err := startFault(t, echoService(), easyops.WithCheck("db", nil), easyops.WithOnStop("db", nil), easyops.WithOnError(nil), easyops.WithOnReady(nil))
	mustContain(t, err.Error(), `WithCheck("db")`, `WithOnStop("db")`, "WithOnError", "WithOnReady")
}

// TestStreamInterceptor: grpc-go takes one only, and the runtime's comes first.
func TestStreamInterceptor(t *testing.T) {
	pass := func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		return handler(srv, ss)
	}
	err := startFault(t, echoService(), easyops.WithGRPC(grpc.StreamInterceptor(pass)))
	mustContain(t, err.Error(), "WithGRPC", "grpc.ChainStreamInterceptor")
}

// TestLifeOutOfOrder: methods that come at the wrong time say so.
func TestLifeOutOfOrder(t *testing.T) {
	s := easyops.NewServer(apart(), easyops.WithAddr("127.0.0.1:0"))
	echov1.RegisterEchoServiceServer(s, echo{})
	if err := s.Shutdown(t.Context()); err == nil || !strings.Contains(err.Error(), "not started") {
		t.Errorf("Shutdown before Start: %v", err)
	}
	if got := addrOf(s); got != nil {
		t.Errorf("Addr before Start: %v", got)
	}
	if _, ok := s.GetServiceInfo()["echo.v1.EchoService"]; !ok {
		t.Errorf("services before Start: %v", s.GetServiceInfo())
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err == nil || !strings.Contains(err.Error(), "started before") {
		t.Errorf("Start again: %v", err)
	}
	if _, ok := s.GetServiceInfo()["grpc.health.v1.Health"]; !ok {
		t.Errorf("services after Start: %v", s.GetServiceInfo())
	}
	mustPanic(t, "after Start", func() { echov1.RegisterEchoServiceServer(s, echo{}) })
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Start(); err == nil || !strings.Contains(err.Error(), "make a new one") {
		t.Errorf("Start after Shutdown: %v", err)
	}
}

// TestWaitAfterFailedStart: a server that has not begun has nothing to wait for.
func TestWaitAfterFailedStart(t *testing.T) {
	s := easyops.NewServer(apart())
	want := s.Start()
	ended := make(chan error, 1)
	go func() { ended <- s.Wait() }()
	select {
	case err := <-ended:
		if want == nil || err == nil {
			t.Errorf("Start: %v, Wait: %v", want, err)
		}
	case <-within(t, waitBriefly).Done():
		t.Error("Wait waits for ever for a server whose start failed")
	}
}

func addrOf(s *easyops.Server) (addr any) {
	defer func() {
		if p := recover(); p != nil {
			addr = p
		}
	}()
	if a := s.Addr(); a != nil {
		return a
	}
	return nil
}

func mustPanic(t *testing.T, text string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		p, _ := recover().(string)
		mustContain(t, p, text)
	}()
	f()
}

// TestNilContext: a context that is not there is a mistake like any other.
func TestNilContext(t *testing.T) {
	out, err := startProgram(t, "nil context").CombinedOutput()
	if err != nil {
		t.Error(err)
	}
	mustContain(t, string(out), "WithContext")
}

func init() {
	programs["nil context"] = func() {
		s := easyops.NewServer(apart(), easyops.WithContext(nil)) //nolint:staticcheck // the mistake
		echov1.RegisterEchoServiceServer(s, echo{})
		err := s.Start()
		if err == nil {
			s.Wait()
		}
		os.Stdout.WriteString(err.Error())
	}
}

// waitBriefly is how long something may take that ought to come at once.
const waitBriefly = 2 * time.Second
