// Command echo serves echo.v1.EchoService: the program of the README.
package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
	_ "github.com/go-easyops/easyops/runtime/registry/etcd" // etcd:// URLs
)

func main() {
	flag.Parse()
	easyops.Main(echov1.StartEchoServiceServer(&echo{}))
}

// errDraining ends the streams that could go on for ever when the server
// stops. The code tells clients to open the stream again on another instance.
var errDraining = status.Error(codes.Unavailable, "the server is draining, open the stream again")

type echo struct {
	echov1.UnimplementedEchoServiceServer
}

func (*echo) Echo(_ context.Context, req *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	return &echov1.EchoResponse{Message: req.GetMessage()}, nil
}

func (*echo) Repeat(req *echov1.RepeatRequest, stream grpc.ServerStreamingServer[echov1.RepeatResponse]) error {
	if req.GetCount() < 0 {
		return status.Errorf(codes.InvalidArgument, "count is %d, it must not be negative", req.GetCount())
	}
	draining := easyops.Draining(stream.Context())
	for range req.GetCount() {
		select {
		case <-draining:
			return errDraining
		default:
		}
		if err := stream.Send(&echov1.RepeatResponse{Message: req.GetMessage()}); err != nil {
			return err
		}
	}
	return nil
}

// Collect does not ask whether the server is draining: its callers end it
// themselves, and the stream grace ends those that do not.
func (*echo) Collect(stream grpc.ClientStreamingServer[echov1.CollectRequest, echov1.CollectResponse]) error {
	var messages []string
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&echov1.CollectResponse{Message: strings.Join(messages, "\n")})
		}
		if err != nil {
			return err
		}
		messages = append(messages, req.GetMessage())
	}
}

func (*echo) Chat(stream grpc.BidiStreamingServer[echov1.ChatRequest, echov1.ChatResponse]) error {
	heard := make(chan *echov1.ChatRequest)
	ended := make(chan error, 1)
	go func() { ended <- listen(stream, heard) }()
	for {
		select {
		case <-easyops.Draining(stream.Context()):
			return errDraining
		case err := <-ended:
			return err
		case req := <-heard:
			if err := stream.Send(&echov1.ChatResponse{Message: req.GetMessage()}); err != nil {
				return err
			}
		}
	}
}

// listen hands on what the caller of Chat says, and returns nil at its end. It
// returns at the latest when the handler has: the stream's context ends then.
func listen(stream grpc.BidiStreamingServer[echov1.ChatRequest, echov1.ChatResponse], heard chan<- *echov1.ChatRequest) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case heard <- req:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}
