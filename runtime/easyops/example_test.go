package easyops_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// quiet keeps the logs of examples off the screen.
var quiet = easyops.WithLogger(slog.New(slog.DiscardHandler))

// A server with the options of a program that serves more than one service.
// Generated Start functions do the same for one. In a main function both
// results go to [easyops.Main].
func ExampleStart() {
	s, err := easyops.Start([]easyops.Service{
		echov1.BindEchoServiceServer(echo{}),
	}, easyops.WithAddr("127.0.0.1:0"), quiet)
	if err != nil {
		fmt.Println(err)
		return
	}
	<-s.Ready()
	fmt.Println("ready")
	fmt.Println("stopped:", s.Shutdown(context.Background()))
	// Output:
	// ready
	// stopped: <nil>
}

// Services without generated code of easyops are registered as with grpc-go.
func ExampleNewServer() {
	s := easyops.NewServer(quiet)
	echov1.RegisterEchoServiceServer(s, echo{})
	if err := s.Start(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("serving on loopback:", s.Addr().Network())
	fmt.Println("stopped:", s.Shutdown(context.Background()))
	// Output:
	// serving on loopback: tcp
	// stopped: <nil>
}

// A client finds the server in the registry of this machine. Generated Dial
// functions do the same and return a client.
func ExampleDial() {
	s, err := echov1.StartEchoServiceServer(echo{}, quiet)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Shutdown(context.Background())

	conn, err := easyops.Dial("echo.v1.EchoService", quiet)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	resp, err := echov1.NewEchoServiceClient(conn).Echo(context.Background(), &echov1.EchoRequest{Message: "hi"})
	fmt.Println(resp.GetMessage(), err)
	// Output: hi <nil>
}

// ticker sends for as long as its callers and the server like.
type ticker struct{ echo }

func (ticker) Repeat(_ *echov1.RepeatRequest, stream grpc.ServerStreamingServer[echov1.RepeatResponse]) error {
	for {
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-easyops.Draining(stream.Context()):
			return stream.Send(&echov1.RepeatResponse{Message: "goodbye"})
		case <-time.After(time.Millisecond):
			if err := stream.Send(&echov1.RepeatResponse{Message: "tick"}); err != nil {
				return err
			}
		}
	}
}

// A handler of a long stream says goodbye when the server is about to stop.
func ExampleDraining() {
	s, err := echov1.StartEchoServiceServer(ticker{}, quiet)
	if err != nil {
		fmt.Println(err)
		return
	}
	client, conn, err := echov1.DialEchoService(easyops.DialTarget(s.Addr().String()), quiet)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	stream, err := client.Repeat(context.Background(), &echov1.RepeatRequest{})
	if err != nil {
		fmt.Println(err)
		return
	}
	first, err := stream.Recv()
	fmt.Println(first.GetMessage(), err)

	go s.Shutdown(context.Background())
	last := ""
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		last = resp.GetMessage()
	}
	fmt.Println(last)
	fmt.Println("stopped:", s.Wait())
	// Output:
	// tick <nil>
	// goodbye
	// stopped: <nil>
}

// mailer answers before its work is done.
type mailer struct {
	echo
	sent atomic.Int32
}

func (m *mailer) Echo(ctx context.Context, req *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	easyops.Go(ctx, func(context.Context) { m.sent.Add(1) })
	return &echov1.EchoResponse{Message: "accepted"}, nil
}

// Work that outlives its call is waited for when the server stops.
func ExampleGo() {
	m := &mailer{}
	s, err := echov1.StartEchoServiceServer(m, quiet)
	if err != nil {
		fmt.Println(err)
		return
	}
	client, conn, err := echov1.DialEchoService(easyops.DialTarget(s.Addr().String()), quiet)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	resp, err := client.Echo(context.Background(), &echov1.EchoRequest{})
	fmt.Println(resp.GetMessage(), err)
	fmt.Println("stopped:", s.Shutdown(context.Background()))
	fmt.Println("sent:", m.sent.Load())
	// Output:
	// accepted <nil>
	// stopped: <nil>
	// sent: 1
}

// An HTTP handler on the same port, for everyone.
func ExampleWithHTTP() {
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %s", r.PathValue("name"))
	})
	s, err := echov1.StartEchoServiceServer(echo{}, quiet,
		easyops.WithHTTP("GET /hello/{name}", hello, auth.Access{Allow: auth.Everyone}))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Shutdown(context.Background())
	resp, err := http.Get("http://" + s.Addr().String() + "/hello/ann")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(string(body), err)
	http.DefaultClient.CloseIdleConnections()
	// Output: hello ann <nil>
}
