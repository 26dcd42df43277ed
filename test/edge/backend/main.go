// Command backend is what stands behind an edge in tests: the echo service, a
// page that says what it heard, and a line echo over TCP.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
	_ "github.com/go-easyops/easyops/runtime/registry/etcd" // etcd:// URLs
)

var (
	kinds = flag.String("serve", "grpc,http,tcp", "what to serve: echo.v1.EchoService, the HTTP service page, the TCP service lines")
	open  = flag.Bool("open", false, "serve everyone, whoever calls")
)

func main() {
	flag.Parse()
	var access auth.Access
	if *open {
		access.Allow = auth.Everyone
	}
	var services []easyops.Service
	var opts []easyops.ServerOption
	for kind := range strings.SplitSeq(*kinds, ",") {
		switch kind {
		case "grpc":
			services = append(services, echov1.BindEchoServiceServer(echo{}))
			opts = append(opts, easyops.WithAccess("echo.v1.EchoService", access))
		case "http":
			opts = append(opts, easyops.WithHTTPService("page", "/", http.HandlerFunc(page), access))
		case "tcp":
			opts = append(opts, easyops.WithTCP("lines", "", lines))
		}
	}
	easyops.Main(easyops.Start(services, opts...))
}

// page says what it heard, as JSON, after the time that the query asks for.
func page(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if wait, err := time.ParseDuration(r.URL.Query().Get("wait")); err == nil {
		time.Sleep(wait)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"who": auth.CallerFrom(r.Context()).String(), "method": r.Method, "host": r.Host, "uri": r.RequestURI,
		"proto": r.Proto, "header": r.Header, "body": n,
	})
}

// lines says each line back, until the caller ends or the server drains.
func lines(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })
	defer stop()
	for in := bufio.NewReader(conn); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if _, err := io.WriteString(conn, line); err != nil {
			return
		}
	}
}

// errDraining ends the streams that could go on for ever.
var errDraining = status.Error(codes.Unavailable, "the server is draining, open the stream again")

// who is the message that is answered with who has called.
const who = "who"

type echo struct {
	echov1.UnimplementedEchoServiceServer
}

func say(ctx context.Context, message string) string {
	if message == who {
		return auth.CallerFrom(ctx).String()
	}
	return message
}

func (echo) Echo(ctx context.Context, req *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	return &echov1.EchoResponse{Message: say(ctx, req.GetMessage())}, nil
}

func (echo) Repeat(req *echov1.RepeatRequest, stream grpc.ServerStreamingServer[echov1.RepeatResponse]) error {
	for range req.GetCount() {
		if err := stream.Send(&echov1.RepeatResponse{Message: req.GetMessage()}); err != nil {
			return err
		}
	}
	return nil
}

func (echo) Collect(stream grpc.ClientStreamingServer[echov1.CollectRequest, echov1.CollectResponse]) error {
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

func (echo) Chat(stream grpc.BidiStreamingServer[echov1.ChatRequest, echov1.ChatResponse]) error {
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
