// Gomicro is a go-micro service with its gRPC server, with nothing on that is not
// by default, and registered in memory: its default registry is multicast DNS.
//
// It follows https://go-micro.dev/docs/getting-started.html and the README of its
// protoc-gen-micro, with micro.Server for gRPC.
package main

import (
	"context"
	"errors"
	"io"
	"net"

	"go-micro.dev/v5"
	"go-micro.dev/v5/registry"
	"go-micro.dev/v5/server/grpc"

	echov1 "github.com/go-easyops/easyops/bench/peers/gomicro/gen"
	"github.com/go-easyops/easyops/bench/peers/internal/peer"
	"github.com/go-easyops/easyops/bench/serving"
)

var description = serving.Description{
	Name:   "gomicro",
	Module: "go-micro.dev/v5",
	Features: map[string]string{
		serving.Recovery:  "its default, of unary calls",
		serving.Discovery: "in memory, in place of multicast DNS",
	},
	Security: []string{serving.Plaintext, serving.TLS},
	Notes:    "by server/grpc, which it is told to use in place of its own protocol",
}

func main() { peer.Main(description, serve) }

func serve(lis net.Listener, told serving.Told) error {
	server := grpc.NewServer(grpc.Listener(lis), grpc.AuthTLS(told.Mutual))
	service := micro.NewService(micro.Server(server), micro.Name("echo"), micro.Address(lis.Addr().String()),
		micro.Registry(registry.NewMemoryRegistry()))
	service.Init()
	if err := echov1.RegisterEchoServiceHandler(service.Server(), echo{}); err != nil {
		return err
	}
	return service.Run()
}

// echo is what all peers serve.
type echo struct{}

func (echo) Echo(_ context.Context, req *echov1.EchoRequest, rsp *echov1.EchoResponse) error {
	rsp.Message = req.GetMessage()
	return nil
}

func (echo) Repeat(_ context.Context, req *echov1.RepeatRequest, stream echov1.EchoService_RepeatStream) error {
	for range req.GetCount() {
		if err := stream.Send(&echov1.RepeatResponse{Message: req.GetMessage()}); err != nil {
			return err
		}
	}
	return nil
}

func (echo) Collect(context.Context, echov1.EchoService_CollectStream) error {
	return errors.ErrUnsupported
}

func (echo) Chat(_ context.Context, stream echov1.EchoService_ChatStream) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&echov1.ChatResponse{Message: req.GetMessage()}); err != nil {
			return err
		}
	}
}
