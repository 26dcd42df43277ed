package easyops

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/resolver"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/routing"
)

// clientTransport says how the connections of a client are secured: by TLS as
// soon as anything of TLS is set. It leaves files to the upkeep.
func clientTransport(c *config, service string, u *upkeep) (credentials.TransportCredentials, error) {
	switch {
	case c.tlsConfig != nil:
		return givenTransport(c)
	case c.tlsCA != "" || c.tlsCert != "" || c.tlsKey != "":
		return filesTransport(c, service, u)
	case c.serverID != "":
		return nil, errors.New("DialServerID needs TLS, because a server proves by its certificate who it is: set -easyops.tls-ca (EASYOPS_TLS_CA, WithTLSFiles)")
	}
	return plainTransport{proxied: isProxied(c.target, http.ProxyFromEnvironment)}, nil
}

// filesTransport is TLS by files. A server of the registry, or one that
// DialServerID names, proves by its certificate that it may serve the service;
// that of a target is for its host.
func filesTransport(c *config, service string, u *upkeep) (credentials.TransportCredentials, error) {
	certs, err := auth.LoadCertificates(auth.CertFiles{Cert: c.tlsCert, Key: c.tlsKey, CA: c.tlsCA}, c.log())
	if err != nil {
		return nil, fmt.Errorf("-easyops.tls-cert, -easyops.tls-key, -easyops.tls-ca (EASYOPS_TLS_CERT, EASYOPS_TLS_KEY, EASYOPS_TLS_CA): %w", err)
	}
	least, check := uint16(tls.VersionTLS13), func(string) serverCheck { return certs.ServesAs(service, c.serverID) }
	if c.target != "" {
		least = tls.VersionTLS12
	}
	if c.target != "" && c.serverID == "" {
		check = func(host string) serverCheck { return auth.ServesHost(host) }
	}
	u.certs = certs
	return tlsTransport{
		verifies: true,
		shown:    u.shown,
		config:   func(host string) *tls.Config { return certs.Client(check(host), least) },
	}, nil
}

// serverCheck tells whether a server's certificate, which was verified, is the
// right one.
type serverCheck = func(*x509.Certificate) error

// givenTransport is TLS by a configuration of the program's own, which answers
// for what it verifies.
func givenTransport(c *config) (credentials.TransportCredentials, error) {
	own := c.tlsConfig.Clone()
	switch id := c.serverID; {
	case strings.Contains(id, "://"):
		return nil, fmt.Errorf("DialServerID(%q) with WithTLSConfig: let the configuration verify the SPIFFE ID by its VerifyConnection, or name files by WithTLSFiles", id)
	case id != "" && own.InsecureSkipVerify:
		return nil, fmt.Errorf("DialServerID(%q) with a WithTLSConfig that has InsecureSkipVerify, by which nothing wants the name: leave one of them out, or let VerifyConnection want it", id)
	case id != "" && own.ServerName != "" && own.ServerName != id:
		return nil, fmt.Errorf("DialServerID(%q) with a WithTLSConfig whose ServerName is %q: leave one of them out", id, own.ServerName)
	}
	// In a session that is resumed nothing tells whether the server still knows
	// us, and so whether the call needs our token.
	own.ClientSessionCache = nil
	own.MinVersion = max(own.MinVersion, tls.VersionTLS12)
	return tlsTransport{
		verifies: !own.InsecureSkipVerify || own.VerifyConnection != nil || own.VerifyPeerCertificate != nil,
		name:     c.serverID,
		config:   func(string) *tls.Config { return own.Clone() },
	}, nil
}

// tlsTransport secures connections by TLS.
type tlsTransport struct {
	config   func(host string) *tls.Config // a new one for each handshake
	verifies bool                          // who the server is
	name     string                        // that its certificate must be for; "" is the host's
	shown    *shownCert                    // nil where nothing follows our certificate
}

// ClientHandshake implements [credentials.TransportCredentials]. How is gRPC's
// own affair; what is added is what the link is good for.
func (t tlsTransport) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if t.name != "" {
		authority = t.name
	}
	config := t.config(hostOf(authority))
	note := noteCertificate(config)
	conn, info, err := credentials.NewTLS(config).ClientHandshake(ctx, authority, conn)
	if err != nil {
		return nil, nil, err
	}
	l := &secureLink{TLSInfo: info.(credentials.TLSInfo), verified: t.verifies, named: note.leaf != nil}
	if err := t.noteShown(ctx, note); err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	if note.asked && l.State.Version >= tls.VersionTLS13 {
		conn = &refusable{Conn: conn, ended: make(chan struct{})}
	}
	return conn, l, nil
}

// noteShown finds that a server would lose sight of who we are: it does not know
// the authority of our new certificate, and that of the open connection it does.
func (t tlsTransport) noteShown(ctx context.Context, n *noted) error {
	if t.shown == nil {
		return nil
	}
	if n.asked && n.leaf == nil && routing.Replaces(ctx) {
		return errors.New("the server does not know the authority of our new certificate, -easyops.tls-cert")
	}
	t.shown.note(n.leaf)
	return nil
}

// ServerHandshake implements [credentials.TransportCredentials].
func (tlsTransport) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.ErrUnsupported
}

// Info implements [credentials.TransportCredentials].
func (tlsTransport) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone implements [credentials.TransportCredentials].
func (t tlsTransport) Clone() credentials.TransportCredentials { return t }

// OverrideServerName implements [credentials.TransportCredentials].
func (tlsTransport) OverrideServerName(string) error { return errors.ErrUnsupported }

func hostOf(authority string) string {
	host, _, err := net.SplitHostPort(authority)
	if err != nil {
		return authority
	}
	return host
}

// noted is what became of our certificate in a handshake.
type noted struct {
	asked bool              // the server wanted one
	leaf  *x509.Certificate // that it got; nil for none
}

// noteCertificate makes the handshake note it.
func noteCertificate(c *tls.Config) *noted {
	note, choose, certs := new(noted), c.GetClientCertificate, c.Certificates
	if choose == nil {
		choose = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) { return chooseCertificate(r, certs), nil }
	}
	c.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		cert, err := choose(r)
		if err == nil && !isForClients(cert) {
			cert = new(tls.Certificate)
		}
		note.asked = true
		if err == nil {
			note.leaf = leafOf(cert)
		}
		return cert, err
	}
	return note
}

// leafOf returns the certificate itself, nil for none.
func leafOf(cert *tls.Certificate) *x509.Certificate {
	if cert == nil || len(cert.Certificate) == 0 {
		return nil
	}
	if cert.Leaf != nil {
		return cert.Leaf
	}
	leaf, _ := x509.ParseCertificate(cert.Certificate[0])
	return leaf
}

// isForClients tells whether a server could take the certificate for that of a
// client. One that is for servers only would end the connection.
func isForClients(cert *tls.Certificate) bool {
	if cert == nil || cert.Leaf == nil || len(cert.Leaf.ExtKeyUsage)+len(cert.Leaf.UnknownExtKeyUsage) == 0 {
		return true
	}
	return slices.Contains(cert.Leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) || slices.Contains(cert.Leaf.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// chooseCertificate does what crypto/tls does by itself.
func chooseCertificate(r *tls.CertificateRequestInfo, certs []tls.Certificate) *tls.Certificate {
	for i := range certs {
		if r.SupportsCertificate(&certs[i]) == nil {
			return &certs[i]
		}
	}
	return new(tls.Certificate)
}

// plainTransport leaves connections unencrypted, and notes which of them stay on
// this machine.
type plainTransport struct {
	proxied bool // by a proxy, whose address says nothing of where the connection leads
}

// ClientHandshake implements [credentials.TransportCredentials].
func (t plainTransport) ClientHandshake(_ context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	l := &plainLink{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}}
	l.local = staysHere(conn.RemoteAddr(), t.proxied)
	return conn, l, nil
}

// ServerHandshake implements [credentials.TransportCredentials].
func (plainTransport) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.ErrUnsupported
}

// Info implements [credentials.TransportCredentials]. The name is the one by
// which gRPC knows plaintext.
func (plainTransport) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "insecure"}
}

// Clone implements [credentials.TransportCredentials].
func (t plainTransport) Clone() credentials.TransportCredentials { return t }

// OverrideServerName implements [credentials.TransportCredentials].
func (plainTransport) OverrideServerName(string) error { return nil }

// staysHere tells whether a connection to the peer stays on this machine. An
// address of the machine's own network cards does not count: port forwarding, as
// for the node ports of Kubernetes, may lead it elsewhere.
func staysHere(peer net.Addr, proxied bool) bool {
	if peer == nil {
		return false
	}
	switch peer.Network() {
	case "unix", "bufconn", "pipe":
		return true
	}
	tcp, ok := peer.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback() && !proxied
}

// isProxied tells whether gRPC connects to a target by the proxy of the
// environment (HTTPS_PROXY), as it does where an option does not say otherwise.
func isProxied(target string, proxyFor func(*http.Request) (*url.URL, error)) bool {
	if target == "" {
		return false
	}
	proxy, err := proxyFor(&http.Request{URL: &url.URL{Scheme: "https", Host: endpointOf(target)}})
	return err != nil || proxy != nil
}

// endpointOf returns a target without its scheme, as gRPC takes it apart.
func endpointOf(target string) string {
	u, err := url.Parse(target)
	if err != nil || resolver.Get(u.Scheme) == nil {
		return target
	}
	return strings.TrimPrefix(cmp.Or(u.Path, u.Opaque), "/")
}

// secureLink is what is known of a TLS connection.
type secureLink struct {
	credentials.TLSInfo
	verified bool // who the server is
	named    bool // our certificate tells the server who we are
}

// ConnectionState gives programs what TLS has to tell of a connection, as AuthInfo
// of a peer is no credentials.TLSInfo.
func (l *secureLink) ConnectionState() tls.ConnectionState { return l.State }

// plainLink is what is known of an unencrypted connection.
type plainLink struct {
	credentials.CommonAuthInfo
	local bool // it stays on this machine
}

// AuthType implements [credentials.AuthInfo].
func (plainLink) AuthType() string { return "insecure" }

// ValidateAuthority implements [credentials.AuthorityValidator]: calls may name
// any authority, as nothing proves one.
func (plainLink) ValidateAuthority(string) error { return nil }
