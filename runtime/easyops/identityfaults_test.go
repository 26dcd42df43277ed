package easyops_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
)

var nobodyKnown = auth.AuthenticatorFunc(func(context.Context, auth.Credential) (auth.Identity, error) { return auth.Identity{}, nil })

// TestFaultsOfIdentity: each is found at the start, with the flag, the
// environment variable and the cure.
func TestFaultsOfIdentity(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(t, echoName)
	keys := writeKeys(t)
	jwks := "jwks:" + keys + "?issuer=https://issuer.test&audience=a"
	for _, test := range []struct {
		name string
		opts []easyops.ServerOption
		want []string
	}{
		{"insecure-none with others", []easyops.ServerOption{easyops.WithAuth("insecure-none", jwks)}, []string{"-easyops.auth", "EASYOPS_AUTH", "insecure-none together"}},
		{"insecure-none with one of the program's", []easyops.ServerOption{easyops.WithAuth("insecure-none"), easyops.WithAuthenticator(nobodyKnown)}, []string{"WithAuthenticator", "insecure-none together"}},
		{"no specification", []easyops.ServerOption{easyops.WithAuth()}, []string{"WithAuth()", "-easyops.auth", "EASYOPS_AUTH", "empty"}},
		{"no operators", []easyops.ServerOption{easyops.WithOperators()}, []string{"WithOperators()", "-easyops.operators", "EASYOPS_OPERATORS", "empty"}},
		{"operators standalone", []easyops.ServerOption{easyops.WithOperators("user:alice")}, []string{"-easyops.operators", "EASYOPS_OPERATORS", "WithOperators", "-easyops.auth"}},
		{"operators with insecure-none", []easyops.ServerOption{easyops.WithAuth("insecure-none"), easyops.WithOperators("user:alice")}, []string{"-easyops.operators", "-easyops.auth"}},
		{"plaintext off the machine", []easyops.ServerOption{easyops.WithAuth(jwks), easyops.WithAddr(":0")}, []string{":0", "-easyops.tls-cert", "-easyops.insecure-plaintext", "EASYOPS_INSECURE_PLAINTEXT", "WithInsecurePlaintext"}},
		{"plaintext by default", []easyops.ServerOption{easyops.WithAuth(jwks)}, []string{":0", "-easyops.insecure-plaintext"}},
		{"plaintext pages off the machine", []easyops.ServerOption{easyops.WithAuth(jwks), easyops.WithAddr("127.0.0.1:0"), easyops.WithStatusAddr(":0")}, []string{":0", "-easyops.insecure-plaintext"}},
		{"mtls without TLS", []easyops.ServerOption{easyops.WithAuth("mtls"), easyops.WithAddr("127.0.0.1:0")}, []string{"mtls", "-easyops.tls-cert", "EASYOPS_TLS_CERT"}},
		{"mtls without authorities", []easyops.ServerOption{easyops.WithAuth("mtls"), easyops.WithTLSFiles(cert, key, "")}, []string{"mtls", "-easyops.tls-ca", "EASYOPS_TLS_CA"}},
		{"mtls with those of the web", []easyops.ServerOption{easyops.WithAuth("mtls"), easyops.WithTLSFiles(cert, key, "system")}, []string{"mtls", "-easyops.tls-ca", "system"}},
		{"mtls that verifies nothing", []easyops.ServerOption{easyops.WithAuth("mtls"), easyops.WithTLSConfig(&tls.Config{Certificates: []tls.Certificate{{}}, ClientAuth: tls.RequireAnyClientCert})}, []string{"mtls", "ClientAuth", "WithTLSConfig"}},
		{"mtls by those of the web", []easyops.ServerOption{easyops.WithAuth("mtls"), easyops.WithTLSConfig(&tls.Config{Certificates: []tls.Certificate{{}}, ClientAuth: tls.VerifyClientCertIfGiven})}, []string{"mtls", "ClientCAs", "WithTLSConfig"}},
		{"an unknown way", []easyops.ServerOption{easyops.WithAuth("kerberos")}, []string{"-easyops.auth", "kerberos"}},
		{"keys that are not there", []easyops.ServerOption{easyops.WithAuth(strings.Replace(jwks, keys, keys+"x", 1))}, []string{"-easyops.auth", keys + "x"}},
		{"a rule for nothing", []easyops.ServerOption{easyops.WithAccess("echo.v1.EchoService/Ecko", auth.Access{})}, []string{"WithAccess", "Ecko", "package.Service/Method"}},
		{"a rule for the runtime's own", []easyops.ServerOption{easyops.WithAccess("grpc.health.v1.Health", auth.Access{})}, []string{"WithAccess", "grpc.health.v1.Health", "fixed"}},
		{"a rule of reflection", []easyops.ServerOption{easyops.WithAccess("grpc.reflection.v1.ServerReflection/ServerReflectionInfo", auth.Access{Allow: auth.Everyone})}, []string{"WithAccess", "fixed"}},
		{"a rule that makes no sense", []easyops.ServerOption{easyops.WithAccess("echo.v1.EchoService", auth.Access{Allow: auth.Everyone, Groups: []string{"staff"}})}, []string{"WithAccess", "EVERYONE with groups"}},
		{"two rules", []easyops.ServerOption{easyops.WithAccess("echo.v1.EchoService", auth.Access{}), easyops.WithAccess("echo.v1.EchoService", auth.Access{Allow: auth.Everyone})}, []string{"WithAccess", "twice"}},
		{"a page whose rule makes no sense", []easyops.ServerOption{easyops.WithHTTP("/x", http.NotFoundHandler(), auth.Access{Allow: auth.Services, Groups: []string{"staff"}})}, []string{`WithHTTP("/x")`, "SERVICES with groups"}},
	} {
		t.Run(test.name, func(t *testing.T) { mustContain(t, startFault(t, echoService(), test.opts...).Error(), test.want...) })
	}
}

// TestFaultsOfIdentityAtOnce: all that is wrong is said in one go.
func TestFaultsOfIdentityAtOnce(t *testing.T) {
	err := startFault(t, echoService(), easyops.WithAuth("mtls", "kerberos", "jwks:/missing?issuer=i&audience=a"), easyops.WithTLSFiles("", "", "system"),
		easyops.WithAccess("a.B", auth.Access{Allow: 9}))
	mustContain(t, err.Error(), "mtls, which needs TLS", "kerberos", `WithAccess("a.B")`, "Allow(9)", "-easyops.insecure-plaintext")
}

// TestGoodIdentity is the other side.
func TestGoodIdentity(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(t, echoName)
	jwks := "jwks:" + writeKeys(t) + "?issuer=https://issuer.test&audience=a"
	for name, opts := range map[string][]easyops.ServerOption{
		"on this machine":          {easyops.WithAuth(jwks), easyops.WithAddr("127.0.0.1:0")},
		"plaintext that is meant":  {easyops.WithAuth(jwks), easyops.WithInsecurePlaintext()},
		"TLS":                      {easyops.WithAuth(jwks), easyops.WithTLSFiles(cert, key, "")},
		"mtls":                     {easyops.WithAuth("mtls, " + jwks), easyops.WithTLSFiles(cert, key, ca.file), easyops.WithOperators("service:deployer")},
		"one of the program's own": {easyops.WithAuthenticator(nobodyKnown), easyops.WithAddr("127.0.0.1:0"), easyops.WithAccess("echo.v1.EchoService/Echo", auth.Access{Allow: auth.Everyone})},
	} {
		t.Run(name, func(t *testing.T) {
			var l logs
			s, err := easyops.Start(echoService(), append([]easyops.ServerOption{apart(), easyops.WithLogger(l.logger()), easyops.WithDrainDelay(0)}, opts...)...)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			lines := len(l.with(t, "insecure-plaintext: tokens reach this server in plain text, unless something else encrypts the way"))
			if warned := lines > 0; warned != (name == "plaintext that is meant") {
				t.Errorf("%d warnings", lines)
			}
		})
	}
}

// TestAccessOrder: the rule of a method wins over that of its service, and both
// over the .proto file; a service that nothing describes is closed.
func TestAccessOrder(t *testing.T) {
	everyone, users := auth.Access{Allow: auth.Everyone}, auth.Access{Allow: auth.Users}
	for _, test := range []struct {
		name    string
		service string
		opts    []easyops.ServerOption
		want    codes.Code // of Ask, without identity
	}{
		{"the file's", "test.trust.Open", nil, codes.OK},
		{"the service's over the file's", "test.trust.Open", []easyops.ServerOption{easyops.WithAccess("test.trust.Open", users)}, codes.Unauthenticated},
		{"the service's over the method's in the file", "test.trust.Own", []easyops.ServerOption{easyops.WithAccess("test.trust.Own", everyone)}, codes.OK},
		{"the method's over the service's", "test.trust.Open", []easyops.ServerOption{easyops.WithAccess("test.trust.Open/Ask", everyone), easyops.WithAccess("test.trust.Open", users)}, codes.OK},
		{"the same in another order", "test.trust.Open", []easyops.ServerOption{easyops.WithAccess("test.trust.Open", users), easyops.WithAccess("test.trust.Open/Ask", everyone)}, codes.OK},
		{"another method's", "test.trust.Own", []easyops.ServerOption{easyops.WithAccess("test.trust.Own/Stream", everyone)}, codes.Unauthenticated},
		{"nothing describes it", "test.nobody.Knows", nil, codes.Unauthenticated},
		{"nothing but the option", "test.nobody.Knows", []easyops.ServerOption{easyops.WithAccess("test.nobody.Knows", everyone)}, codes.OK},
	} {
		t.Run(test.name, func(t *testing.T) {
			var l logs
			s := startOff(t, &l, []easyops.Service{trustService(test.service)},
				append([]easyops.ServerOption{easyops.WithAddr("127.0.0.1:0"), easyops.WithAuthenticator(nobodyKnown)}, test.opts...)...)
			if got := ask(t, plain(t, s), "/"+test.service+"/Ask"); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

// writeKeys writes a file of keys with which nobody signs.
func writeKeys(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys.json")
	const keys = `{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`
	if err := os.WriteFile(file, []byte(keys), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
