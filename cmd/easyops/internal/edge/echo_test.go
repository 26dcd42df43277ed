package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/auth"
)

// echoServer does what the message asks for.
type echoServer struct {
	echov1.UnimplementedEchoServiceServer
	began chan struct{} // nil, or told when a call waits
	ended chan error    // nil, or told why it has ended
}

func (s echoServer) Echo(ctx context.Context, r *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	switch what, rest, _ := strings.Cut(r.GetMessage(), " "); what {
	case "who":
		who := ""
		if u := auth.User(ctx); u != nil {
			who = u.ID
		}
		return &echov1.EchoResponse{Message: who}, nil
	case "metadata":
		md, _ := metadata.FromIncomingContext(ctx)
		return &echov1.EchoResponse{Message: strings.Join(md.Get(rest), "|")}, nil
	case "deadline":
		deadline, ok := ctx.Deadline()
		return &echov1.EchoResponse{Message: fmt.Sprint(ok, time.Until(deadline) > time.Second, time.Until(deadline) < time.Minute)}, nil
	case "compressed":
		ss, _ := grpc.ServerTransportStreamFromContext(ctx).(interface{ RecvCompress() string })
		return &echov1.EchoResponse{Message: ss.RecvCompress()}, nil
	case "wait":
		close(s.began)
		<-ctx.Done()
		s.ended <- ctx.Err()
		return nil, status.FromContextError(ctx.Err()).Err()
	case "fail":
		st, _ := status.New(codes.FailedPrecondition, "häh? 100%").WithDetails(&echov1.EchoRequest{Message: "R"})
		_ = grpc.SetTrailer(ctx, metadata.Pairs("x-after", "1"))
		return nil, st.Err()
	case "headers":
		_ = grpc.SetHeader(ctx, metadata.Pairs("x-own", "1", "x-own", "2", "x-bin", "\x00\xff"))
		_ = grpc.SetTrailer(ctx, metadata.Pairs("x-after", "3", "x-after-bin", "\x01"))
	}
	return &echov1.EchoResponse{Message: r.GetMessage()}, nil
}

func (echoServer) Repeat(r *echov1.RepeatRequest, s grpc.ServerStreamingServer[echov1.RepeatResponse]) error {
	_ = s.SendHeader(metadata.Pairs("x-own", "1"))
	for range r.GetCount() {
		if err := s.Send(&echov1.RepeatResponse{Message: r.GetMessage()}); err != nil {
			return err
		}
	}
	s.SetTrailer(metadata.Pairs("x-after", "1"))
	if r.GetCount() < 0 {
		return status.Error(codes.InvalidArgument, "below 0")
	}
	return nil
}

func (echoServer) Collect(s grpc.ClientStreamingServer[echov1.CollectRequest, echov1.CollectResponse]) error {
	var all []string
	for {
		r, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return s.SendAndClose(&echov1.CollectResponse{Message: strings.Join(all, "\n")})
		}
		if err != nil {
			return err
		}
		if r.GetMessage() == "enough" {
			return status.Error(codes.OutOfRange, "enough")
		}
		all = append(all, r.GetMessage())
	}
}

func (echoServer) Chat(s grpc.BidiStreamingServer[echov1.ChatRequest, echov1.ChatResponse]) error {
	for {
		r, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return s.Send(&echov1.ChatResponse{Message: "bye"})
		}
		if err != nil {
			return err
		}
		if err := s.Send(&echov1.ChatResponse{Message: r.GetMessage()}); err != nil {
			return err
		}
	}
}
