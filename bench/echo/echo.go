// Package echo is the service of the example by grpc-go alone: what is compared with
// easyops, and weighed, links nothing of it. No program can link its messages and
// those of the example: they have the same names.
package echo

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	echov1 "github.com/go-easyops/easyops/bench/echo/gen"
)

// Server says what it hears.
type Server struct {
	echov1.UnimplementedEchoServiceServer
}

// Register has a server of grpc-go serve it.
func Register(s grpc.ServiceRegistrar) { echov1.RegisterEchoServiceServer(s, Server{}) }

// Echo answers with the message of the request.
func (Server) Echo(_ context.Context, req *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	return &echov1.EchoResponse{Message: req.GetMessage()}, nil
}

// Repeat answers with the message of the request as often as it asks for.
func (Server) Repeat(req *echov1.RepeatRequest, stream grpc.ServerStreamingServer[echov1.RepeatResponse]) error {
	for range req.GetCount() {
		if err := stream.Send(&echov1.RepeatResponse{Message: req.GetMessage()}); err != nil {
			return err
		}
	}
	return nil
}

// Chat answers each message as it comes.
func (Server) Chat(stream grpc.BidiStreamingServer[echov1.ChatRequest, echov1.ChatResponse]) error {
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
