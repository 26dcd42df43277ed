package main

import (
	"errors"
	"net"
	"runtime"

	"google.golang.org/grpc"

	"github.com/go-easyops/easyops/bench/grpcgo"
	"github.com/go-easyops/easyops/bench/serving"
	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// The variants of a server. All serve the same implementation.
const (
	bare                = "bare"                     // grpc-go with its defaults
	bareAgain           = "bare again"               // the same once more: how far figures differ by chance
	barePresented       = "bare with a token"        // the same, called as who looks at a token is
	tuned               = "tuned"                    // grpc-go with the transport options of easyops
	tunedPresented      = "tuned with a token"       // the same, called as who looks at a token is
	tunedPresentedAgain = "tuned with a token again" // and once more
	roomy               = "roomy"                    // tuned, with the heap reserve of easyops
	serveHTTP           = "servehttp"                // grpc-go behind net/http
	ours                = "easyops"                  // with all that is on by default, and the registry; where -auth is given, it knows who calls

	identity    = "identity"            // easyops that wants to know who calls
	nobody      = "insecure-none"       // easyops that lets everyone in, whoever calls
	nobodyAgain = "insecure-none again" // the same once more

	behind = "behind" // easyops with a TCP service, for what is in front of it
)

// variant serves on a listener until the process ends.
type variant func(lis net.Listener, s serving.Told) error

var variants = map[string]variant{
	bare:      variant(grpcgo.Bare(registerEcho)),
	bareAgain: variant(grpcgo.Bare(registerEcho)),

	barePresented: variant(grpcgo.Bare(registerEcho)),

	tuned: variant(grpcgo.Tuned(registerEcho)),

	tunedPresented:      variant(grpcgo.Tuned(registerEcho)),
	tunedPresentedAgain: variant(grpcgo.Tuned(registerEcho)),

	roomy: func(lis net.Listener, s serving.Told) error {
		reserve := make([]byte, heapReserve)
		defer runtime.KeepAlive(reserve)
		return grpcgo.Tuned(registerEcho)(lis, s)
	},
	serveHTTP:   variant(grpcgo.ThroughHTTP(registerEcho)),
	ours:        func(lis net.Listener, s serving.Told) error { return everythingOn(lis, s, knowing(s)...) },
	identity:    func(lis net.Listener, s serving.Told) error { return everythingOn(lis, s, easyops.WithAuth(s.Auth)) },
	nobody:      func(lis net.Listener, s serving.Told) error { return everythingOn(lis, s, easyops.WithAuth(nobody)) },
	nobodyAgain: func(lis net.Listener, s serving.Told) error { return everythingOn(lis, s, easyops.WithAuth(nobody)) },
	behind: func(lis net.Listener, s serving.Told) error {
		if err := servePlain(s.Plain); err != nil {
			return err
		}
		return everythingOn(lis, s, easyops.WithTCP("bytes", s.TCP, bytesService))
	},
}

// knowing has callers known by their tokens, and where they are asked for
// certificates by these as well.
func knowing(s serving.Told) []easyops.ServerOption {
	switch {
	case s.Auth == "":
		return nil
	case s.CA != "":
		return []easyops.ServerOption{easyops.WithAuth("mtls", s.Auth)}
	default:
		return []easyops.ServerOption{easyops.WithAuth(s.Auth)}
	}
}

func registerEcho(s grpc.ServiceRegistrar) { echov1.RegisterEchoServiceServer(s, echo{}) }

// heapReserve is that of easyops. A test compares them.
const heapReserve = 4 << 20

func everythingOn(lis net.Listener, told serving.Told, opts ...easyops.ServerOption) error {
	opts = append(opts, easyops.WithFlags(nil), easyops.WithListener(lis), easyops.WithRegistry("local:"+told.Registry))
	if told.TLS != nil {
		opts = append(opts, easyops.WithTLSFiles(told.Cert, told.Cert, told.CA))
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
