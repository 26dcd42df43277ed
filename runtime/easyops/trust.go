package easyops

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/auth"
)

// trust says how far callers are believed.
type trust int

const (
	// standalone: nothing is configured and only this machine can connect.
	// Access rules pass, the operator is whoever runs the process.
	standalone trust = iota
	// insecure: told to let everyone in. Nobody is operator.
	insecure
	// open: anyone can connect and nobody can be authenticated, so only what
	// is for EVERYONE answers. Nobody is operator.
	open
)

func (c *config) parseAuth(s string) error {
	for spec := range strings.SplitSeq(s, ",") {
		if spec != "insecure-none" {
			return fmt.Errorf("%q is not known to this version, which cannot verify identities yet: insecure-none lets everyone in", spec)
		}
	}
	c.trust = insecure
	return nil
}

func (c *config) setAuth(specs []string) {
	if len(specs) > 0 {
		c.try("WithAuth", strings.Join(specs, ","), c.parseAuth)
	}
}

// admit decides whether a caller may go on, before a byte of its request is
// decoded. It is the one place where identity meets the access rule.
func (t trust) admit(access auth.Access) error {
	if t == open && access.Allow != auth.Everyone {
		return errUnauthenticated
	}
	return nil
}

var errUnauthenticated = status.Error(codes.Unauthenticated, "this call needs an identity, and this server cannot verify one")

// errExposed tells how an address off the machine can be served.
func errExposed(addr string) error {
	return fmt.Errorf("%s can be reached from other machines, and callers are not authenticated: "+
		"listen on 127.0.0.1, or say how to authenticate them by -easyops.auth (EASYOPS_AUTH, WithAuth); insecure-none lets everyone in", addr)
}

// onThisMachine tells whether only this machine can connect to a host:port.
func onThisMachine(addr string) (bool, error) {
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return false, errors.New("not an address: write host:port, such as 127.0.0.1:4100 or :4100")
	}
	if host == "localhost" {
		return true, nil
	}
	return net.ParseIP(host).IsLoopback(), nil
}

// isLocal tells whether only this machine can connect to a listener. A kind of
// address that is not known counts as exposed.
func isLocal(l net.Listener) bool {
	switch a := l.Addr(); a.Network() {
	case "unix", "unixpacket", "bufconn", "pipe":
		return true
	default:
		local, err := onThisMachine(a.String())
		return err == nil && local
	}
}
