//go:build real

package h2spec

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"testing"
	"time"

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

	// patience is how long the port waits for a first request before it takes a
	// client for one of gRPC that has nothing to call yet. Until then it answers
	// nothing; h2spec wants an answer to its SETTINGS before its first request,
	// within 2 s. So it is grpc-go's transport behind the port that is judged.
	patience = 500 * time.Millisecond
)

// servers are what is compared. Each starts one on loopback, with TLS if there
// are certificates, and returns its address.
var servers = map[string]func(t *testing.T, certs *serve.Certs) string{
	"easyops":  startEasyops,
	"grpc-go":  startGRPC,
	"net/http": startHTTP,
}

func startEasyops(t *testing.T, certs *serve.Certs) string {
	options := []easyops.ServerOption{
		easyops.WithHTTP(page, http.HandlerFunc(servePage), auth.Access{Allow: auth.Everyone}),
		easyops.WithLimits(easyops.Limits{OpenTimeout: patience}),
	}
	if certs != nil {
		options = append(options, easyops.WithTLSFiles(certs.Cert, certs.Key, ""))
	}
	return easyopstest.Start(t, []easyops.Service{echov1.BindEchoServiceServer(echov1.UnimplementedEchoServiceServer{})}, options...).Addr().String()
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
