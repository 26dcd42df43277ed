package easyops_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/emptypb"

	easyopsv1 "github.com/go-easyops/easyops/proto/easyops/v1"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// The services of this file have access rules that no committed .proto file
// has, so their descriptors are made here: "test.trust.Open" is for EVERYONE
// as a whole, "test.trust.Mixed" has a stream that says nothing, and
// "test.trust.Own" has a method with a rule of its own, stricter than the
// service's.
func init() {
	everyone := &easyopsv1.Access{Allow: easyopsv1.Allow_EVERYONE}
	open := &descriptorpb.ServiceOptions{}
	proto.SetExtension(open, easyopsv1.E_Service, &easyopsv1.ServiceRules{Access: everyone})
	method := func(name string, access *easyopsv1.Access) *descriptorpb.MethodDescriptorProto {
		m := &descriptorpb.MethodDescriptorProto{
			Name: &name, InputType: new(".google.protobuf.Empty"), OutputType: new(".google.protobuf.Empty"), Options: &descriptorpb.MethodOptions{},
		}
		m.ServerStreaming = new(name == "Stream")
		if access != nil {
			proto.SetExtension(m.Options, easyopsv1.E_Method, &easyopsv1.MethodRules{Access: access})
		}
		return m
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: new("test/trust.proto"), Package: new("test.trust"), Syntax: new("proto3"),
		Dependency: []string{"google/protobuf/empty.proto"},
		Service: []*descriptorpb.ServiceDescriptorProto{
			{Name: new("Open"), Options: open, Method: []*descriptorpb.MethodDescriptorProto{method("Ask", nil), method("Stream", nil)}},
			{Name: new("Mixed"), Method: []*descriptorpb.MethodDescriptorProto{method("Ask", everyone), method("Stream", nil)}},
			{Name: new("Own"), Options: open, Method: []*descriptorpb.MethodDescriptorProto{method("Ask", &easyopsv1.Access{Allow: easyopsv1.Allow_USERS}), method("Stream", nil)}},
		},
	}, protoregistry.GlobalFiles)
	if err == nil {
		err = protoregistry.GlobalFiles.RegisterFile(file)
	}
	if err != nil {
		panic(err)
	}
}

// asked is the implementation of these services.
type asked struct{}

// trustService binds one of these services.
func trustService(name string) easyops.Service {
	desc := &grpc.ServiceDesc{
		ServiceName: name, HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Ask", Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			return &emptypb.Empty{}, decode(&emptypb.Empty{})
		}}},
		Streams: []grpc.StreamDesc{{StreamName: "Stream", ServerStreams: true, Handler: func(any, grpc.ServerStream) error { return nil }}},
	}
	return easyops.Bind(func(r grpc.ServiceRegistrar, a asked) { r.RegisterService(desc, a) }, asked{}, nil)
}

// plain is a client of grpc-go without anything of easyops.
func plain(t *testing.T, s *easyops.Server) *grpc.ClientConn {
	t.Helper()
	_, port, err := net.SplitHostPort(s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("127.0.0.1:"+port, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func ask(t *testing.T, conn grpc.ClientConnInterface, method string) codes.Code {
	return status.Code(conn.Invoke(t.Context(), method, &emptypb.Empty{}, &emptypb.Empty{}))
}

// offMachine are addresses that others can connect to, and one that nobody
// knows.
var offMachine = []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:4100", "example.com:4100"}

// TestExposed: whoever can be reached from elsewhere has to say how callers
// are authenticated.
func TestExposed(t *testing.T) {
	for _, addr := range offMachine {
		for name, opt := range map[string]easyops.ServerOption{"WithAddr": easyops.WithAddr(addr), "WithStatusAddr": easyops.WithStatusAddr(addr)} {
			t.Run(name+addr, func(t *testing.T) {
				for _, services := range [][]easyops.Service{echoService(), {trustService("test.trust.Mixed")}, {trustService("test.trust.Own")}, {trustService("test.trust.Open"), echoService()[0]}} {
					err := startFault(t, services, opt)
					mustContain(t, err.Error(), addr, "-easyops.auth", "EASYOPS_AUTH", "insecure-none", "127.0.0.1")
				}
				err := startFault(t, []easyops.Service{trustService("test.trust.Open")}, opt, easyops.WithHTTP("/x", http.NotFoundHandler()))
				mustContain(t, err.Error(), "-easyops.auth")
			})
		}
	}
	lis, err := net.Listen("tcp", ":0") //nolint:gosec // G102: the case that is tested
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	mustContain(t, startFault(t, echoService(), easyops.WithListener(lis)).Error(), lis.Addr().String(), "-easyops.auth")
}

// TestOnThisMachine: what only this machine can reach needs nothing.
func TestOnThisMachine(t *testing.T) {
	unix, err := net.Listen("unix", filepath.Join(shortDir(t), "s"))
	if err != nil {
		t.Fatal(err)
	}
	opts := []easyops.ServerOption{
		easyops.WithAddr("127.0.0.1:0"), easyops.WithAddr("127.0.0.2:0"), easyops.WithAddr("localhost:0"), easyops.WithAddr(""),
		easyops.WithListener(listen(t)), easyops.WithListener(unix),
	}
	if lis, err := net.Listen("tcp", "[::1]:0"); err == nil { // where there is IPv6
		lis.Close()
		opts = append(opts, easyops.WithAddr("[::1]:0"))
	}
	for i, opt := range opts {
		s, err := easyops.Start(echoService(), apart(), opt)
		if err != nil {
			t.Errorf("option %d: %v", i, err)
			continue
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// shortDir makes a directory of our own whose path is short enough for a
// socket in it.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "d-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// TestListenerOverAddress: an option wins over the environment, the listener
// over the address.
func TestListenerOverAddress(t *testing.T) {
	t.Setenv("EASYOPS_ADDR", "0.0.0.0:1")
	lis := listen(t)
	s, err := easyops.Start(echoService(), easyops.WithRegistry("none"), easyops.WithListener(lis), easyops.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Addr().String(); got != lis.Addr().String() {
		t.Errorf("serves on %s", got)
	}
	s.Shutdown(t.Context())
}

// TestOpenToEveryone: where every rule is EVERYONE, no identity is needed, and
// nobody is operator.
func TestOpenToEveryone(t *testing.T) {
	var l logs
	s := startOff(t, &l, []easyops.Service{trustService("test.trust.Open")},
		easyops.WithHTTP("/open", text("for all"), auth.Access{Allow: auth.Everyone}))
	conn := plain(t, s)
	if code := ask(t, conn, "/test.trust.Open/Ask"); code != codes.OK {
		t.Errorf("Ask: %v", code)
	}
	if code := ask(t, conn, "/test.trust.Open/Missing"); code != codes.Unauthenticated {
		t.Errorf("a method that is not there: %v", code)
	}
	if _, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("health: %v", err)
	}
	if _, err := reflectServices(t, conn); status.Code(err) != codes.Unauthenticated {
		t.Errorf("reflection: %v", err)
	}
	url := local(s)
	for path, want := range map[string]int{"/open": 200, "/readyz": 200, "/internal/health": 200, "/internal/help": 403, "/metrics": 403} {
		if code, body := get(t, url+path); code != want {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if lines := l.with(t, "serving"); len(lines) != 1 || lines[0]["mode"] != "open to everyone, plaintext" {
		t.Errorf("logged %v", lines)
	}
}

// TestInsecureNone: everyone is let in, nobody is operator, and each start
// says so at warning level.
func TestInsecureNone(t *testing.T) {
	for _, addr := range []string{":0", "127.0.0.1:0"} {
		t.Run(addr, func(t *testing.T) {
			var l logs
			s := startOff(t, &l, []easyops.Service{trustService("test.trust.Own"), echoService()[0]},
				easyops.WithAuth("insecure-none"), easyops.WithAddr(addr), easyops.WithHTTP("/mine", text("mine")))
			conn := plain(t, s)
			for method, want := range map[string]codes.Code{"/test.trust.Own/Ask": codes.OK, "/echo.v1.EchoService/Echo": codes.OK, "/a.B/C": codes.Unimplemented} {
				if code := ask(t, conn, method); code != want {
					t.Errorf("%s: %v", method, code)
				}
			}
			if names, err := reflectServices(t, conn); err != nil || len(names) < 3 {
				t.Errorf("reflection: %v, %v", names, err)
			}
			for path, want := range map[string]int{"/mine": 200, "/livez": 200, "/internal/health": 200, "/metrics": 403, "/internal/help": 403, "/internal/service-info/name": 403, "/internal/debug/info": 403} {
				code, body := get(t, local(s)+path)
				if code != want {
					t.Errorf("%s: %d %s", path, code, body)
				}
				if code == 403 {
					mustContain(t, body, "nobody is operator", "insecure-none")
				}
			}
			code, body := get(t, local(s)+"/internal/pleaseshutdown", func(r *http.Request) { r.Method = http.MethodPost })
			if code != http.StatusForbidden {
				t.Errorf("pleaseshutdown: %d %s", code, body)
			}
			say(t, dialEcho(t, apart(), easyops.DialTarget(strings.TrimPrefix(local(s), "http://"))), "still there")
			warned := false
			for _, line := range l.with(t, "insecure-none: every caller is let in, and nobody is operator") {
				warned = warned || line["level"] == "WARN"
			}
			if !warned {
				t.Errorf("no warning in:\n%s", &l)
			}
		})
	}
}

// TestStandalone is the other side: on this machine alone rules pass, whoever
// runs the server is operator, and nothing is warned of.
func TestStandalone(t *testing.T) {
	var l logs
	s := startOff(t, &l, []easyops.Service{trustService("test.trust.Own")}, easyops.WithAddr(""), easyops.WithHTTP("/mine", text("mine")))
	if !s.Addr().(*net.TCPAddr).IP.IsLoopback() {
		t.Errorf("the default address is %v", s.Addr())
	}
	conn := plain(t, s)
	for method, want := range map[string]codes.Code{"/test.trust.Own/Ask": codes.OK, "/a.B/C": codes.Unimplemented} {
		if code := ask(t, conn, method); code != want {
			t.Errorf("%s: %v", method, code)
		}
	}
	for _, path := range []string{"/mine", "/internal/help", "/metrics"} {
		if code, body := get(t, local(s)+path); code != http.StatusOK {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if lines := l.with(t, "serving"); len(lines) != 1 || lines[0]["mode"] != "standalone, plaintext" || lines[0]["level"] != "INFO" {
		t.Errorf("logged %v", lines)
	}
}

// TestDefaultAddress: off standalone all interfaces are the default.
func TestDefaultAddress(t *testing.T) {
	var l logs
	s := startOff(t, &l, echoService(), easyops.WithAuth("insecure-none"), easyops.WithAddr(""))
	if !s.Addr().(*net.TCPAddr).IP.IsUnspecified() {
		t.Errorf("the default address is %v", s.Addr())
	}
	if lines := l.with(t, "serving"); len(lines) != 1 || lines[0]["help"] != nil {
		t.Errorf("a help page that nobody may see is spoken of: %v", lines)
	}
}

// TestOpenTCPIsWarnedOf: only where nothing else asks who calls.
func TestOpenTCPIsWarnedOf(t *testing.T) {
	const said = "every machine that reaches this address can connect"
	of := func(name, addr string, opts ...easyops.ServerOption) int {
		var l logs
		startOff(t, &l, nil, append(opts, easyops.WithAddr("127.0.0.1:0"), easyops.WithTCP(name, addr, func(context.Context, net.Conn) {}))...)
		return strings.Count(l.String(), said)
	}
	if of("open", ":0") != 1 {
		t.Error("nothing is said of a service that is open to all machines")
	}
	if of("local", "127.0.0.1:0") != 0 || of("free", "") != 0 {
		t.Error("a service on this machine is warned of")
	}
	if of("asked", ":0", easyops.WithAuthenticator(auth.AuthenticatorFunc(func(context.Context, auth.Credential) (auth.Identity, error) { return auth.Identity{}, nil }))) != 0 {
		t.Error("a service of a server that asks who calls is warned of")
	}
}

// startOff serves on all interfaces, without a registry, and logs to l.
func startOff(t *testing.T, l *logs, services []easyops.Service, opts ...easyops.ServerOption) *easyops.Server {
	t.Helper()
	s, err := easyops.Start(services, append([]easyops.ServerOption{
		apart(), easyops.WithLogger(l.logger()), easyops.WithAddr(":0"), easyops.WithDrainDelay(0),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// local is the URL of a server on this machine.
func local(s *easyops.Server) string {
	_, port, _ := net.SplitHostPort(s.Addr().String())
	return "http://127.0.0.1:" + port
}

// text answers with a text.
func text(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s) })
}
