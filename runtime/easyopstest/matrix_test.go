package easyopstest

import (
	"context"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	greeterv1 "github.com/go-easyops/easyops/example/gen/greeter/v1"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
)

const (
	echoMethod = "echo.v1.EchoService/Echo"
	chatMethod = "echo.v1.EchoService/Chat"
)

// both are services of all four kinds of method and rules of each kind. What is
// called panics, as nothing of theirs is implemented but the registration.
func both() []easyops.Service {
	return []easyops.Service{
		echov1.BindEchoServiceServer(struct{ echov1.EchoServiceServer }{}),
		greeterv1.BindGreeterServiceServer(struct{ greeterv1.GreeterServiceServer }{}),
	}
}

func TestAccessMatrix(t *testing.T) { AccessMatrix(t, both()...) }

// TestOverriddenRules: rules that the program sets hold in the matrix.
func TestOverriddenRules(t *testing.T) {
	Overrides{
		"echo.v1.EchoService": {Allow: auth.Users, Groups: []string{"staff", "ops"}, Services: []string{"edge", "spiffe://example.org/edge"}},
		echoMethod:            {Allow: auth.Everyone},
	}.AccessMatrix(t, both()...)
}

// plain is registered by hand and its methods are of no .proto file, so the
// default holds.
var plain = grpc.ServiceDesc{
	ServiceName: "plain.v1.PlainService",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Call", Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		return nil, decode(new(emptypb.Empty))
	}}},
	Streams: []grpc.StreamDesc{{StreamName: "Flow", ClientStreams: true, Handler: func(any, grpc.ServerStream) error { panic("the handler was run") }}},
}

func TestWithoutDescriptor(t *testing.T) {
	register := func(r grpc.ServiceRegistrar, impl any) { r.RegisterService(&plain, impl) }
	AccessMatrix(t, easyops.Bind(register, any(struct{}{}), nil))
}

// TestCallers: who calls is what a rule makes a difference for.
func TestCallers(t *testing.T) {
	for want, rule := range map[string]auth.Access{
		"nobody, service, user, user by service":                               {},
		"nobody, service, user, user by service, user in a, user in b":         {Allow: auth.Users, Groups: []string{"a", "b"}},
		"nobody, service, service a, user, user by service, user by service a": {Allow: auth.Services, Services: []string{"a"}},
	} {
		var names []string
		for _, c := range callersOf(rule) {
			if !strings.Contains(c.name, "in a by") && !strings.Contains(c.name, "in b by") && !c.spoilt {
				names = append(names, c.name)
			}
		}
		slices.Sort(names)
		if got := strings.Join(names, ", "); got != want {
			t.Errorf("%v: callers are %s, want %s", rule, got, want)
		}
	}
}

// faults returns what the matrix finds in a server whose rules are not those
// that it should have.
func faults(t *testing.T, claimed, real Overrides) (found []string) {
	t.Helper()
	m := startMatrix(t, claimed, both(), real.options()...)
	for _, method := range slices.Sorted(maps.Keys(m.rules)) {
		for _, c := range callersOf(m.rules[method]) {
			if m.check(t.Context(), method, c) != nil {
				found = append(found, method+" "+c.name)
			}
		}
	}
	return found
}

// TestSeesWrongRules is the control: whoever is admitted and should not be is
// found, whoever is refused and should not be too, and nothing else.
func TestSeesWrongRules(t *testing.T) {
	staff := Overrides{echoMethod: {Allow: auth.Users, Groups: []string{"staff"}}}
	billing := Overrides{chatMethod: {Allow: auth.Services, Services: []string{"billing"}}}
	spoilt := []string{"expired user", "expired service", "forged user", "forged service"}
	for name, c := range map[string]struct {
		claimed, real Overrides
		method        string
		want          []string
	}{
		"as claimed":                   {staff, staff, echoMethod, nil},
		"open to everyone":             {nil, Overrides{echoMethod: {Allow: auth.Everyone}}, echoMethod, append([]string{"nobody"}, spoilt...)},
		"stream open to everyone":      {nil, Overrides{chatMethod: {Allow: auth.Everyone}}, chatMethod, append([]string{"nobody"}, spoilt...)},
		"any user in place of a group": {staff, Overrides{echoMethod: {Allow: auth.Users}}, echoMethod, []string{"user", "user by service"}},
		"any service in place of one":  {billing, Overrides{chatMethod: {Allow: auth.Services}}, chatMethod, []string{"service", "user by service"}},
		"users kept out":               {nil, Overrides{echoMethod: {Allow: auth.Services}}, echoMethod, []string{"user"}},
	} {
		t.Run(name, func(t *testing.T) {
			var want []string
			for _, caller := range c.want {
				want = append(want, c.method+" "+caller)
			}
			got := faults(t, c.claimed, c.real)
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("found\n%q, want\n%q", got, want)
			}
		})
	}
}

// recording is a test whose output is kept.
type recording struct {
	testing.TB
	mu  sync.Mutex
	out strings.Builder
}

func (r *recording) Output() io.Writer { return r }

func (r *recording) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.Write(p)
}

// logged returns what the server of a matrix logs.
func logged(t *testing.T, opts ...easyops.ServerOption) string {
	t.Helper()
	r := &recording{TB: t}
	m := startMatrix(r, nil, both(), opts...)
	for _, method := range []string{echoMethod, chatMethod} {
		for _, c := range callersOf(m.rules[method]) {
			m.call(t.Context(), method, c)
		}
	}
	_ = m.conn.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.String()
}

// TestLogOfTheMatrix: that a call was let in is no fault, and no line; what went
// wrong has one.
func TestLogOfTheMatrix(t *testing.T) {
	const fault, admitted, refused = "level=ERROR", "let in, and ends here", "code=Unauthenticated"
	broken := auth.AuthenticatorFunc(func(context.Context, auth.Credential) (auth.Identity, error) { panic("out of paper") })
	for name, test := range map[string]struct {
		opts           []easyops.ServerOption
		want, unwanted []string
	}{
		"passing":        {nil, []string{refused}, []string{fault, admitted}},
		"a real failure": {[]easyops.ServerOption{easyops.WithAuthenticator(broken)}, []string{fault, "out of paper"}, []string{admitted}},
	} {
		t.Run(name, func(t *testing.T) {
			log := logged(t, test.opts...)
			for _, part := range test.want {
				if !strings.Contains(log, part) {
					t.Errorf("no %q in the log:\n%s", part, log)
				}
			}
			for _, part := range test.unwanted {
				if strings.Contains(log, part) {
					t.Errorf("%q is in the log:\n%s", part, log)
				}
			}
		})
	}
	t.Run("control", func(t *testing.T) {
		var loud recording
		logged(t, easyops.WithLogger(logger(&loud)))
		if log := loud.out.String(); !strings.Contains(log, admitted) {
			t.Errorf("calls that are let in have no line to leave out:\n%s", log)
		}
	})
}

// TestRunsNoHandler is the control of what both says of itself: without what ends
// calls before it, a handler does run.
func TestRunsNoHandler(t *testing.T) {
	s := Start(t, both())
	client, conn, err := echov1.DialEchoService(s.Client(), AsUser("alice"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = client.Echo(t.Context(), &echov1.EchoRequest{})
	if err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("a call of nothing answered %v", err)
	}
}
