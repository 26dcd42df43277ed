package port

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// Credentials returns the transport credentials for the gRPC server behind GRPCListener
// (grpc.Creds). The port has done the TLS handshake, so they only hand on its outcome: the
// AuthInfo of a peer is a credentials.TLSInfo on a TLS port.
func (p *Port) Credentials() credentials.TransportCredentials {
	if p.tls == nil {
		return insecure.NewCredentials()
	}
	return finishedTLS{}
}

type finishedTLS struct{}

// ServerHandshake hands on the TLS state of a connection that came through the port.
func (finishedTLS) ServerHandshake(nc net.Conn) (net.Conn, credentials.AuthInfo, error) {
	g, ok := nc.(*grpcConn)
	var state *tls.ConnectionState
	if ok {
		state = g.conn.tls.Load()
	}
	if state == nil {
		return nil, nil, errors.New("port: connection did not come through the port's own listener")
	}
	info := credentials.TLSInfo{
		State:          *state,
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		SPIFFEID:       spiffeID(state),
	}
	return g, info, nil
}

// spiffeID returns the peer's SPIFFE ID, where its certificate has exactly one URI and that is
// well formed, as grpc-go's own TLS credentials do.
func spiffeID(state *tls.ConnectionState) *url.URL {
	certs := state.PeerCertificates
	if len(certs) == 0 || len(certs[0].URIs) != 1 {
		return nil
	}
	id := certs[0].URIs[0]
	if id.Scheme != "spiffe" || id.Opaque != "" || id.User != nil || id.Host == "" || id.Path == "" ||
		len(id.Host) > 255 || len(id.String()) > 2048 {
		return nil
	}
	return id
}

// ClientHandshake always fails: these are a server's credentials.
func (finishedTLS) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("port: these credentials are for the server behind the port")
}

// Info names the security protocol.
func (finishedTLS) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone returns the same credentials, which have no state.
func (c finishedTLS) Clone() credentials.TransportCredentials { return c }

// OverrideServerName does nothing; it is a client's setting.
func (finishedTLS) OverrideServerName(string) error { return nil }
