// Kitex is a kitex server for protobuf over gRPC, with nothing on that is not by
// default. Its server has no TLS for gRPC.
//
// It follows https://www.cloudwego.io/docs/kitex/tutorials/code-gen/code_generation/
// and .../basic-feature/protocol/transport-protocol/grpc/: which protocol is
// spoken, it sees by the first bytes of a connection.
package main

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/cloudwego/kitex/server"

	"github.com/go-easyops/easyops/bench/peers/internal/peer"
	echov1 "github.com/go-easyops/easyops/bench/peers/kitex/gen/echo/v1"
	"github.com/go-easyops/easyops/bench/peers/kitex/gen/echo/v1/echoservice"
	"github.com/go-easyops/easyops/bench/serving"
)

var description = serving.Description{
	Name:     "kitex",
	Module:   "github.com/cloudwego/kitex",
	Features: map[string]string{serving.Recovery: "its default"},
	Security: []string{serving.Plaintext},
	Notes:    "its own implementation of HTTP/2 and protobuf; metrics, access log and registries are modules of their own and off",
}

func main() { peer.Main(description, serve) }

func serve(lis net.Listener, _ serving.Told) error {
	return echoservice.NewServer(&echo{}, server.WithListener(lis)).Run()
}

// echo is what all peers serve.
type echo struct{}

func (echo) Echo(_ context.Context, req *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	return &echov1.EchoResponse{Message: req.GetMessage()}, nil
}

func (echo) Repeat(req *echov1.RepeatRequest, stream echov1.EchoService_RepeatServer) error {
	for range req.GetCount() {
		if err := stream.Send(&echov1.RepeatResponse{Message: req.GetMessage()}); err != nil {
			return err
		}
	}
	return nil
}

func (echo) Collect(echov1.EchoService_CollectServer) error { return errors.ErrUnsupported }

func (echo) Chat(stream echov1.EchoService_ChatServer) error {
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
