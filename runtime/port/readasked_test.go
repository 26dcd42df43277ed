package port

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// last is a listener that keeps the last connection.
type last struct {
	net.Listener
	conn atomic.Pointer[grpcConn]
}

func (l *last) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if g, ok := nc.(*grpcConn); ok {
		l.conn.Store(g)
	}
	return nc, err
}

// asked tells whether the connection was read by ReadOnReady, once nobody reads it any more.
func (g *grpcConn) asked() bool {
	if g.first != nil {
		return *g.first != [firstOfRecord]byte{}
	}
	return g.socket != nil && g.socket.size > 0
}

// hiding are credentials that return connections of which no more is known than of any other.
type hiding struct {
	credentials.TransportCredentials
}

func (h hiding) ServerHandshake(nc net.Conn) (net.Conn, credentials.AuthInfo, error) {
	nc, info, err := h.TransportCredentials.ServerHandshake(nc)
	return struct{ net.Conn }{nc}, info, err
}

// The server of the version of grpc-go that is linked looks for ReadOnReady, and finds it behind
// the port and its credentials: nothing else would show that it does not, but for memory.
func TestGRPCReadsOnReady(t *testing.T) {
	cert, roots := selfSigned(t), x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	for name, test := range map[string]struct {
		server *tls.Config
		client credentials.TransportCredentials
	}{
		"TCP": {nil, insecure.NewCredentials()},
		"TLS": {&tls.Config{Certificates: []tls.Certificate{cert}}, credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "server.test"})},
	} {
		for _, hidden := range []bool{false, true} {
			if name == "TCP" && !canReadNow && !hidden {
				continue
			}
			lis, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			p := New(lis, &http.Server{ReadHeaderTimeout: time.Second}, Config{TLS: test.server})
			creds := p.Credentials()
			if hidden {
				creds = hiding{creds}
			}
			s, behind := grpc.NewServer(grpc.Creds(creds)), &last{Listener: p.GRPCListener()}
			go func() { _ = s.Serve(behind) }()
			go func() { _ = p.Serve() }()
			cc, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(test.client))
			if err != nil {
				t.Fatal(err)
			}
			for range 3 { // what the port has read is read again first
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				if err := cc.Invoke(ctx, "/a.B/C", &emptypb.Empty{}, &emptypb.Empty{}); status.Code(err) != codes.Unimplemented {
					t.Errorf("%s: %v", name, err)
				}
				cancel()
			}
			_ = cc.Close()
			s.Stop() // and with it its readers
			_ = p.Close()
			if g := behind.conn.Load(); g == nil || g.asked() == hidden {
				t.Errorf("%s, hidden %v: read by ReadOnReady: %v", name, hidden, g != nil && g.asked())
			}
		}
	}
}
