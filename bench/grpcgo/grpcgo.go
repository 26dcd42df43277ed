// Package grpcgo has the ways to serve by grpc-go alone that easyops is compared
// with. It links nothing of easyops.
package grpcgo

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/go-easyops/easyops/bench/serving"
)

// Register registers the services of a server.
type Register func(grpc.ServiceRegistrar)

// Serve serves on a listener until the process ends.
type Serve func(lis net.Listener, told serving.Told) error

// Bare serves with the defaults of grpc-go.
func Bare(register Register) Serve {
	return func(lis net.Listener, told serving.Told) error { return Server(told.TLS, register).Serve(lis) }
}

// Tuned serves with the transport options of easyops.
func Tuned(register Register) Serve {
	return func(lis net.Listener, told serving.Told) error {
		return Server(told.TLS, register, Options()...).Serve(lis)
	}
}

// Server is a server of grpc-go, over TLS unless secure is nil.
func Server(secure *tls.Config, register Register, opts ...grpc.ServerOption) *grpc.Server {
	if secure != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(secure)))
	}
	s := grpc.NewServer(opts...)
	register(s)
	return s
}

const streamWorkers = 32

const streamsPerConn = 250

const streamWindow = 1 << 20

const openTimeout = 5 * time.Second

func windows(stream int32) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.StaticStreamWindowSize(stream),
		grpc.StaticConnWindowSize(streamsPerConn * stream),
	}
}

// Options are the transport options of easyops.
func Options() []grpc.ServerOption {
	return append(windows(streamWindow),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.MaxConcurrentStreams(streamsPerConn),
		grpc.MaxHeaderListSize(64<<10),
		grpc.MaxRecvMsgSize(4<<20),
		grpc.MaxSendMsgSize(64<<20),
		grpc.ConnectionTimeout(openTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 5 * time.Minute}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)
}

// ThroughHTTP serves as one port is often shared: net/http speaks HTTP/2 and hands
// each call to grpc-go.
func ThroughHTTP(register Register) Serve {
	return func(lis net.Listener, told serving.Told) error {
		s := &http.Server{
			Handler:           Server(nil, register),
			TLSConfig:         told.TLS,
			ReadHeaderTimeout: openTimeout,
			Protocols:         new(http.Protocols),
		}
		s.Protocols.SetHTTP2(told.TLS != nil)
		s.Protocols.SetUnencryptedHTTP2(told.TLS == nil)
		if told.TLS != nil {
			return s.ServeTLS(lis, "", "")
		}
		return s.Serve(lis)
	}
}
