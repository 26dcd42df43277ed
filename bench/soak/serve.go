package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/cache"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/flags"
)

// The server has a flag that operators change, and a cache that overflows and
// expires.
var (
	word    = flags.New("soak.word", "soak", "a `word` of the page /hello")
	answers = cache.New[string, string]("answers", cache.Options{MaxEntries: 500, TTL: 2 * time.Second})
)

// serve is a server. Its other settings are flags of easyops. It ends with its
// input, too.
func serve(args []string) error {
	leak := flag.Bool("leak", false, "leak memory, goroutines and file descriptors")
	if err := flag.CommandLine.Parse(args); err != nil {
		return err
	}
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, io.LimitReader(r.Body, 1<<10))
		_, _ = io.WriteString(w, word.Get()) // where the client is gone nobody is told
	})
	ctx, end := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		end() // whoever has started us has ended
	}()
	return easyops.Run(echov1.StartEchoServiceServer(&echo{leaking: *leak}, easyops.WithHTTP("/hello", hello), easyops.WithContext(ctx)))
}

// errDraining ends streams that could go on for ever.
var errDraining = status.Error(codes.Unavailable, "the server is draining, open the stream again")

type echo struct {
	echov1.UnimplementedEchoServiceServer
	leaking bool
	calls   atomic.Int64
}

func (e *echo) Echo(ctx context.Context, req *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	if e.leaking && e.calls.Add(1)%4 == 0 {
		leak()
	}
	message, err := answers.Load(ctx, req.GetMessage(), func(_ context.Context, message string) (string, error) {
		return message, nil
	})
	return &echov1.EchoResponse{Message: message}, err
}

// leak is what a fault of a program would leave behind at each call.
func leak() {
	file, err := os.Open(os.DevNull)
	if err != nil {
		return
	}
	kept := make([]byte, 256<<10)
	for i := range kept {
		kept[i] = 1
	}
	go func() {
		<-make(chan struct{})
		_, _ = file.Write(kept)
	}()
}

func (*echo) Repeat(req *echov1.RepeatRequest, stream grpc.ServerStreamingServer[echov1.RepeatResponse]) error {
	for range req.GetCount() {
		if err := stream.Send(&echov1.RepeatResponse{Message: req.GetMessage()}); err != nil {
			return err
		}
	}
	return nil
}

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
	heard, ended := make(chan string), make(chan error, 1)
	go func() { ended <- listen(stream, heard) }()
	for {
		select {
		case <-easyops.Draining(stream.Context()):
			return errDraining
		case err := <-ended:
			return err
		case message := <-heard:
			if err := stream.Send(&echov1.ChatResponse{Message: message}); err != nil {
				return err
			}
		}
	}
}

// listen hands on what the caller of Chat says, and returns nil at its end. It
// returns at the latest when the handler has.
func listen(stream grpc.BidiStreamingServer[echov1.ChatRequest, echov1.ChatResponse], heard chan<- string) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case heard <- req.GetMessage():
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}
