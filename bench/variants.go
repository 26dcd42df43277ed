package main

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"runtime"
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
	roomy     = "roomy"      // tuned, with the heap reserve of easyops
	serveHTTP = "servehttp"  // grpc-go behind net/http
	ours      = "easyops"    // with all that is on by default, and the registry

	identity    = "identity"            // easyops that wants to know who calls
	nobody      = "insecure-none"       // easyops that lets everyone in, whoever calls
	nobodyAgain = "insecure-none again" // the same once more

	behind = "behind" // easyops with a TCP service, for what is in front of it
)

// serving is what a server is told.
type serving struct {
	tls      *tls.Config // nil: plaintext
	cert     string      // the file of that certificate and its key
	ca       string      // a file of the authorities of callers, or nothing
	auth     string      // how callers are authenticated, where they are
	registry string      // a directory for those that are listed in one
	tcp      string      // where those listen that have a TCP service
	plain    string      // where the same listens without easyops
}

// variant serves on a listener until the process ends.
type variant func(lis net.Listener, s serving) error

var variants = map[string]variant{
	bare:      func(lis net.Listener, s serving) error { return bareServer(s.tls).Serve(lis) },
	bareAgain: func(lis net.Listener, s serving) error { return bareServer(s.tls).Serve(lis) },
	tuned:     tunedServer,
	roomy: func(lis net.Listener, s serving) error {
		reserve := make([]byte, heapReserve)
		defer runtime.KeepAlive(reserve)
		return tunedServer(lis, s)
	},
	serveHTTP:   throughHTTP,
	ours:        func(lis net.Listener, s serving) error { return everythingOn(lis, s) },
	identity:    func(lis net.Listener, s serving) error { return everythingOn(lis, s, easyops.WithAuth(s.auth)) },
	nobody:      func(lis net.Listener, s serving) error { return everythingOn(lis, s, easyops.WithAuth(nobody)) },
	nobodyAgain: func(lis net.Listener, s serving) error { return everythingOn(lis, s, easyops.WithAuth(nobody)) },
	behind: func(lis net.Listener, s serving) error {
		if err := servePlain(s.plain); err != nil {
			return err
		}
		return everythingOn(lis, s, easyops.WithTCP("bytes", s.tcp, bytesService))
	},
}

func tunedServer(lis net.Listener, s serving) error {
	return bareServer(s.tls, transportOptions()...).Serve(lis)
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

// heapReserve is that of easyops. A test compares them.
const heapReserve = 4 << 20

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
func throughHTTP(lis net.Listener, told serving) error {
	s := &http.Server{
		Handler:           bareServer(nil),
		TLSConfig:         told.tls,
		ReadHeaderTimeout: 5 * time.Second,
		Protocols:         new(http.Protocols),
	}
	s.Protocols.SetHTTP2(told.tls != nil)
	s.Protocols.SetUnencryptedHTTP2(told.tls == nil)
	if told.tls != nil {
		return s.ServeTLS(lis, "", "")
	}
	return s.Serve(lis)
}

func everythingOn(lis net.Listener, told serving, opts ...easyops.ServerOption) error {
	opts = append(opts, easyops.WithFlags(nil), easyops.WithListener(lis), easyops.WithRegistry("local:"+told.registry))
	if told.tls != nil {
		opts = append(opts, easyops.WithTLSFiles(told.cert, told.cert, told.ca))
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
