package easyops

import (
	"errors"
	"fmt"
	"net"
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
	// authenticated: authenticators say who calls, and access rules decide.
	authenticated
)

// errExposed tells how an address off the machine can be served.
func errExposed(addr string) error {
	return fmt.Errorf("%s can be reached from other machines, and callers are not authenticated: "+
		"listen on 127.0.0.1, or say how to authenticate them by -easyops.auth (EASYOPS_AUTH, WithAuth); insecure-none lets everyone in", addr)
}

// errPlaintext tells how tokens can travel to an address off the machine.
func errPlaintext(addr string) error {
	return fmt.Errorf("%s can be reached from other machines, and tokens would travel there in plain text: "+
		"set -easyops.tls-cert and -easyops.tls-key (EASYOPS_TLS_CERT, EASYOPS_TLS_KEY, WithTLSFiles), or listen on 127.0.0.1; "+
		"where something else encrypts the way, such as a service mesh, set -easyops.insecure-plaintext (EASYOPS_INSECURE_PLAINTEXT, WithInsecurePlaintext)", addr)
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
