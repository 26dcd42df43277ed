package easyops

import (
	"fmt"
	"net/url"
	"strings"

	"google.golang.org/grpc"

	"github.com/go-easyops/easyops/runtime/auth"
)

// dialing are the settings that only options of clients set.
type dialing struct {
	serverID    string
	userTokens  auth.TokenSource // of calls that have no user's token otherwise
	forwardUser bool
	subset      int  // 0 is the default, -1 is all
	dialTLS     bool // of DialTCP
}

// DialServerID names whom the server's certificate may be of beside the service
// itself: a whole SPIFFE ID or a DNS name. It adds a name and takes none away: a
// certificate that names the service is as good as before. At a target it comes,
// with the service's name, in the place of the host's. With WithTLSConfig it is
// a DNS name, and the only one; together with InsecureSkipVerify or another
// ServerName there it is an error of [Dial].
func DialServerID(id string) DialOption {
	return dialOption(func(c *config) {
		c.serverID = id
		if !validServerID(id) {
			c.fault(fmt.Errorf("DialServerID(%q): name a SPIFFE ID, such as spiffe://example.org/echo, or a DNS name", id))
		}
	})
}

func validServerID(id string) bool {
	if !strings.Contains(id, "://") {
		return id != "" && !strings.ContainsAny(id, " /:@")
	}
	u, err := url.Parse(id)
	return err == nil && u.Scheme == "spiffe" && u.Host != "" && len(u.Path) > 1
}

// DialUserToken gives calls the token of a user, for edges and tools that have
// one themselves. A token in the context of a call comes before it: one named by
// [auth.WithUserToken], or that of the incoming call where it may be carried on.
// The source is called for each call; where it returns "", the call has no user,
// and where it fails, the call does.
func DialUserToken(source auth.TokenSource) DialOption {
	return dialOption(func(c *config) {
		if c.present("DialUserToken", source != nil) {
			c.userTokens = source
		}
	})
}

// DialForwardUser carries the user of incoming calls on to the server that
// [DialTarget] names. Without it only services that are found through the
// registry learn of the user, because a token in the hands of a server can be
// used by it.
func DialForwardUser() DialOption {
	return dialOption(func(c *config) { c.forwardUser = true })
}

// DialSubset sets to how many instances of a service the client connects at most,
// of those that are as good as each other for its calls: 16 by default. With -1 it
// connects to all of them.
func DialSubset(n int) DialOption {
	return dialOption(func(c *config) {
		c.subset = n
		if n == 0 || n < -1 {
			c.fault(fmt.Errorf("DialSubset(%d): name how many instances, or -1 for all", n))
		}
	})
}

// DialTarget names the server by a gRPC target, such as
// "dns:///echo.example.com:443", in place of the registry.
func DialTarget(target string) DialOption {
	return dialOption(func(c *config) { c.target = target })
}

// DialGRPC passes options on to grpc-go.
func DialGRPC(opts ...grpc.DialOption) DialOption {
	return dialOption(func(c *config) { c.dialOptions = append(c.dialOptions, opts...) })
}
