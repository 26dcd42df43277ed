package main

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
)

// echo is what every variant serves.
type echo struct {
	echov1.UnimplementedEchoServiceServer
}

func (echo) Echo(_ context.Context, req *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	return &echov1.EchoResponse{Message: req.GetMessage()}, nil
}

func (echo) Repeat(req *echov1.RepeatRequest, stream grpc.ServerStreamingServer[echov1.RepeatResponse]) error {
	for range req.GetCount() {
		if err := stream.Send(&echov1.RepeatResponse{Message: req.GetMessage()}); err != nil {
			return err
		}
	}
	return nil
}

func (echo) Chat(stream grpc.BidiStreamingServer[echov1.ChatRequest, echov1.ChatResponse]) error {
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
