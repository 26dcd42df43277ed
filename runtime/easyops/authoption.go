package easyops

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	"github.com/go-easyops/easyops/runtime/auth"
)

// insecureNone is the specification that lets everyone in.
const insecureNone = "insecure-none"

// WithAuth says how callers are authenticated: "mtls" by their certificates,
// "jwks:PATH?issuer=..&audience=..&use=user" by tokens whose keys are in a file,
// "oidc:ISSUER?audience=..&use=service" by tokens of an identity provider, or
// "insecure-none": nobody is, and every call is let in. A token goes to the one
// of several that knows its issuer. Rules know services of the first that is for
// services by their names. An empty list is a fault.
func WithAuth(specs ...string) ServerOption {
	return givenServer("auth", func(c *config) {
		if c.someOf("WithAuth", "auth", len(specs)) {
			c.try("WithAuth", strings.Join(specs, ","), c.parseAuth)
		}
	})
}

// someOf reports an option that was given an empty list, which would hide what
// the flag and the environment say and put nothing in its place.
func (c *config) someOf(option, name string, n int) bool {
	if n == 0 {
		set := setting{name: name}
		c.fault(fmt.Errorf("%s(): the list is empty, and -%s or %s does not count beside the option: name one at least, or leave the option out", option, set.flag(), set.env()))
	}
	return n > 0
}

// parseAuth takes specifications apart. What each says is looked at with
// everything else, at the start.
func (c *config) parseAuth(s string) error {
	c.authSpecs, c.insecureNone = nil, false
	for spec := range strings.SplitSeq(s, ",") {
		switch spec = strings.TrimSpace(spec); spec {
		case "":
			return errors.New("an empty specification: write mtls, jwks:PATH?.., oidc:ISSUER?.. or insecure-none, with commas in between")
		case insecureNone:
			c.insecureNone = true
		default:
			c.authSpecs = append(c.authSpecs, spec)
		}
	}
	return nil
}

// WithAuthenticator adds a way of authenticating callers of the program's own.
// It is asked after those of [WithAuth]; several are asked in their order. One
// that is an [auth.Source] as well is refreshed once a second, and shown on the
// help page.
func WithAuthenticator(a auth.Authenticator) ServerOption {
	return serverOption(func(c *config) {
		if a == nil {
			c.fault(errors.New("WithAuthenticator: the authenticator is nil"))
			return
		}
		c.authenticators = append(c.authenticators, a)
	})
}

// override is a rule in place of those of .proto files.
type override struct {
	name   string
	access auth.Access
}

// WithAccess sets the access rule of a service, "package.Service", or of a
// method, "package.Service/Method", for .proto files that are not the program's
// own. It replaces what the .proto file says; of a service, for all its methods
// but those that have a WithAccess themselves. The runtime's own services, such
// as health, have fixed rules.
func WithAccess(name string, access auth.Access) ServerOption {
	return serverOption(func(c *config) { c.overrides = append(c.overrides, override{name, access}) })
}

// WithOperators names who may see the status pages and use what they offer, as
// "group:NAME", "user:ID" or "service:NAME". A service is meant where it calls
// for itself: what it does for a user is the user's affair. An empty list is a
// fault.
func WithOperators(who ...string) ServerOption {
	return givenServer("operators", func(c *config) {
		if c.someOf("WithOperators", "operators", len(who)) {
			c.try("WithOperators", strings.Join(who, ","), c.setOperators)
		}
	})
}

// WithInsecurePlaintext lets a server with authenticators take calls from other
// machines without TLS, where something else encrypts the way, such as a service
// mesh. A client takes it too, and it changes nothing there: no token leaves the
// machine unencrypted.
func WithInsecurePlaintext() Option {
	return given("insecure-plaintext", func(c *config) { c.insecurePlaintext = true })
}

// WithServiceToken names a file with the token by which this program's calls
// say what service it is, where it has no certificate. It is read again when it
// changes.
func WithServiceToken(file string) Option {
	return given("service-token", func(c *config) { c.serviceToken = file })
}

// WithTLSFiles names PEM files: a certificate and its key, and the authorities
// that servers and clients verify each other against ("system" for the system's
// own, which verify servers only). An empty name leaves that part out. A client
// speaks TLS as soon as one of them is set; a server asks its callers for
// certificates where there is a file of authorities. The files are read again
// when they change.
func WithTLSFiles(cert, key, ca string) Option {
	return option(func(c *config) {
		c.given["tls-cert"], c.given["tls-key"], c.given["tls-ca"] = true, true, true
		c.tlsCert, c.tlsKey, c.tlsCA = cert, key, ca
	})
}

// WithTLSConfig sets the TLS configuration as a whole, in place of files. The
// runtime clones it and sets NextProtos. A certificate of a client counts where
// the configuration's ClientAuth verifies it.
func WithTLSConfig(t *tls.Config) Option {
	return option(func(c *config) { c.tlsConfig = t })
}
