package status

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
)

// LocalOperator accepts whoever runs the server on their own machine: the peer
// and the Host are loopback, and on Linux the peer's socket belongs to the OS
// user that runs the server, so that other users of the machine are no
// operators. Other systems do not tell whose a socket is: there every local
// user is operator.
func LocalOperator() Authorizer {
	return func(r *http.Request) (string, error) {
		peer, local := parseAddrPort(r.RemoteAddr), localAddr(r)
		if !peer.Addr().IsLoopback() || !local.Addr().IsLoopback() {
			return "", forbidden("operators of a server without -easyops.auth must be on its own machine: use 127.0.0.1 there")
		}
		if err := namesThisMachine(r); err != nil {
			return "", err
		}
		return sameUser(peer, local)
	}
}

// FromThisMachine returns nil for requests that were meant for this machine by
// whoever sent them: the Host is loopback, and no proxy has passed them on. A web
// site that points its own name at loopback (DNS rebinding) makes browsers send
// that name. The error is a sentence for the answer, 403. Where the request came
// from is not looked at: that is for servers that only this machine can reach.
func FromThisMachine(r *http.Request) error {
	if err := notForwarded(r); err != nil {
		return err
	}
	return namesThisMachine(r)
}

func namesThisMachine(r *http.Request) error {
	if loopbackHost(r.Host) {
		return nil
	}
	name := "localhost"
	if local := localAddr(r); local.IsValid() {
		name = local.String()
	}
	return forbidden("%q is not this machine: use %s", visible(r.Host), name)
}

// NobodyOperator accepts nobody, and says why.
func NobodyOperator(reason string) Authorizer {
	return func(*http.Request) (string, error) {
		return "", forbidden("nobody is operator of this server: %s", reason)
	}
}

func loopbackHost(hostport string) bool {
	if !plainPort(hostport) {
		return false
	}
	h := canonicalHost(hostname(hostport))
	ip, err := netip.ParseAddr(h)
	return h == "localhost" || err == nil && ip.Zone() == "" && ip.IsLoopback()
}

// errNoSocket says that the system does not list the peer's socket.
var errNoSocket = errors.New("the peer's socket is not listed")

// sameUser accepts a peer whose socket belongs to our own OS user.
func sameUser(peer, local netip.AddrPort) (string, error) {
	uid, err := socketOwner(peer, local)
	if errors.Is(err, errors.ErrUnsupported) {
		return "local", nil
	}
	if err != nil {
		return "", forbidden("it cannot be told which user of this machine is asking (%v): "+
			"keep the connection open until the answer comes", err)
	}
	if uid != os.Geteuid() {
		return "", forbidden("the request comes from user %d of this machine and the server runs as user %d: "+
			"only the latter is operator: ask as that user", uid, os.Geteuid())
	}
	return fmt.Sprintf("local user %d", uid), nil
}
