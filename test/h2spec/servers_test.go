//go:build real

package h2spec

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"testing"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/easyopstest"
	"github.com/go-easyops/easyops/test/serve"
)

const (
	page = "/page"
	body = "a body of some bytes"

	// streams is how many a client may have open, the default of easyops. The
	// suite skips a case where a server says nothing of it.
	streams = 250
)

// waiting is grpc-go behind the port.
const waiting = "grpc-go behind the port"

// servers are what is compared. Each starts one on loopback, with TLS if there
// are certificates, and returns its address.
var servers = map[string]func(t *testing.T, certs *serve.Certs) string{
	"easyops":  func(t *testing.T, certs *serve.Certs) string { return startEasyops(t, certs) },
	"grpc-go":  startGRPC,
	"net/http": startHTTP,
	waiting:    startWaiting,
}

// startWaiting starts a server of easyops that takes every client for one of
// gRPC that has nothing to call yet, so that all of the suite's requests, which
// are for pages, are answered by grpc-go's transport behind the port. Without TLS
// only: it looks at what a client sends.
func startWaiting(t *testing.T, _ *serve.Certs) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startEasyops(t, nil, easyops.WithListener(hasty{l}))
}

// hasty is a listener whose connections let a read fail, once, as if the time
// for a first request was over.
type hasty struct{ net.Listener }

func (h hasty) Accept() (net.Conn, error) {
	c, err := h.Listener.Accept()
	return &hastyConn{Conn: c}, err
}

type hastyConn struct {
	net.Conn
	read int // bytes, and one more when the time is over
}

// beginning is the preface that the suite sends first, with SETTINGS of one value.
const beginning = len(http2.ClientPreface) + 9 + 6

func (c *hastyConn) Read(b []byte) (int, error) {
	if c.read == beginning {
		c.read++
		return 0, os.ErrDeadlineExceeded
	}
	if c.read < beginning {
		b = b[:min(len(b), beginning-c.read)]
	}
	n, err := c.Conn.Read(b)
	c.read += n
	return n, err
}

func startEasyops(t *testing.T, certs *serve.Certs, options ...easyops.ServerOption) string {
	options = append(options, easyops.WithHTTP(page, http.HandlerFunc(servePage), auth.Access{Allow: auth.Everyone}))
	if certs != nil {
		options = append(options, easyops.WithTLSFiles(certs.Cert, certs.Key, ""))
	}
	return easyopstest.StartStandalone(t, []easyops.Service{echov1.BindEchoServiceServer(echov1.UnimplementedEchoServiceServer{})}, options...).Addr().String()
}

func startGRPC(t *testing.T, certs *serve.Certs) string {
	options := []grpc.ServerOption{grpc.MaxConcurrentStreams(streams)}
	if certs != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{load(t, certs)}})))
	}
	server := grpc.NewServer(options...)
	echov1.RegisterEchoServiceServer(server, echov1.UnimplementedEchoServiceServer{})
	t.Cleanup(server.Stop)
	return background(t, server.Serve)
}

func startHTTP(t *testing.T, certs *serve.Certs) string {
	mux := http.NewServeMux()
	mux.HandleFunc(page, servePage)
	server := &http.Server{Handler: mux, Protocols: new(http.Protocols), ErrorLog: log.New(io.Discard, "", 0)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(func() { _ = server.Close() })
	if certs == nil {
		return background(t, server.Serve)
	}
	return background(t, func(l net.Listener) error { return server.ServeTLS(l, certs.Cert, certs.Key) })
}

// background serves until a clean-up that was registered before ends it.
func background(t *testing.T, serve func(net.Listener) error) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = serve(listener) }()
	return listener.Addr().String()
}

func load(t *testing.T, certs *serve.Certs) tls.Certificate {
	cert, err := tls.LoadX509KeyPair(certs.Cert, certs.Key)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func servePage(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.WriteString(w, body)
}
