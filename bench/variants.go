package main

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// The variants of a server. All serve the same implementation.
const (
	bare      = "bare"       // grpc-go with its defaults
	bareAgain = "bare again" // the same once more: how far figures differ by chance
	tuned     = "tuned"      // grpc-go with the transport options of easyops
	serveHTTP = "servehttp"  // grpc-go behind net/http
	ours      = "easyops"    // with all that is on by default, and the registry
)

// variant serves on a listener until the process ends, with TLS unless it is
// nil. registry is a directory for those that are listed in one.
type variant func(lis net.Listener, t *tls.Config, registry string) error

var variants = map[string]variant{
	bare:      func(lis net.Listener, t *tls.Config, _ string) error { return bareServer(t).Serve(lis) },
	bareAgain: func(lis net.Listener, t *tls.Config, _ string) error { return bareServer(t).Serve(lis) },
	tuned: func(lis net.Listener, t *tls.Config, _ string) error {
		return bareServer(t, transportOptions()...).Serve(lis)
	},
	serveHTTP: throughHTTP,
	ours:      everythingOn,
}

func bareServer(t *tls.Config, opts ...grpc.ServerOption) *grpc.Server {
	if t != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(t)))
	}
	s := grpc.NewServer(opts...)
	echov1.RegisterEchoServiceServer(s, echo{})
	return s
}

const streamWorkers = 32

const openTimeout = 5 * time.Second

// transportOptions are those of easyops. A test compares them.
func transportOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.NumStreamWorkers(streamWorkers),
		grpc.MaxConcurrentStreams(250),
		grpc.MaxHeaderListSize(64 << 10),
		grpc.MaxRecvMsgSize(4 << 20),
		grpc.MaxSendMsgSize(64 << 20),
		grpc.ConnectionTimeout(openTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 5 * time.Minute}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	}
}

// throughHTTP is how one port is often shared: net/http speaks HTTP/2 and hands
// each call to grpc-go.
func throughHTTP(lis net.Listener, t *tls.Config, _ string) error {
	s := &http.Server{
		Handler:           bareServer(nil),
		TLSConfig:         t,
		ReadHeaderTimeout: 5 * time.Second,
		Protocols:         new(http.Protocols),
	}
	s.Protocols.SetHTTP2(t != nil)
	s.Protocols.SetUnencryptedHTTP2(t == nil)
	if t != nil {
		return s.ServeTLS(lis, "", "")
	}
	return s.Serve(lis)
}

func everythingOn(lis net.Listener, t *tls.Config, registry string) error {
	opts := []easyops.ServerOption{easyops.WithFlags(nil), easyops.WithListener(lis), easyops.WithRegistry("local:" + registry)}
	if t != nil {
		opts = append(opts, easyops.WithTLSConfig(t))
	}
	s, err := echov1.StartEchoServiceServer(echo{}, opts...)
	if err != nil {
		return err
	}
	if err := s.Wait(); err != nil {
		return err
	}
	return errors.New("the server has stopped")
}
