// Package echo is the implementation of all peers that serve by the code that
// protoc-gen-go-grpc generates. The others have the same in their terms.
package echo

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	echov1 "github.com/go-easyops/easyops/bench/peers/gen"
)

// Server is it.
type Server struct {
	echov1.UnimplementedEchoServiceServer
}

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
