// Command greeter serves greeter.v1.GreeterService, which calls EchoService by
// its generated client. It shows an access rule of each kind.
package main

import (
	"context"
	"errors"
	"flag"
	"sync/atomic"

	"google.golang.org/grpc"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	greeterv1 "github.com/go-easyops/easyops/example/gen/greeter/v1"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/flags"
	_ "github.com/go-easyops/easyops/runtime/registry/etcd" // etcd:// URLs
)

// word can be changed while the program runs, see docs/flags.md.
var word = flags.New("greeter.word", "Hello", "the `word` that greetings begin with", flags.Validate(func(w string) error {
	if w == "" {
		return errors.New("it is empty: a greeting needs a word")
	}
	return nil
}))

func main() {
	flag.Parse()
	easyops.Main(start())
}

func start() (*easyops.Server, error) {
	echo, conn, err := echov1.DialEchoService()
	if err != nil {
		return nil, err
	}
	closeConn := func(context.Context) error { return conn.Close() }
	return greeterv1.StartGreeterServiceServer(&greeter{echo: echo}, easyops.WithOnStop("connection to echo", closeConn))
}

type greeter struct {
	greeterv1.UnimplementedGreeterServiceServer
	echo  echov1.EchoServiceClient
	count atomic.Int64
}

func (g *greeter) Greet(ctx context.Context, req *greeterv1.GreetRequest) (*greeterv1.GreetResponse, error) {
	greeting, err := g.greeting(ctx, req.GetName())
	return &greeterv1.GreetResponse{Greeting: greeting}, err
}

// GreetMe needs no check of its own: nobody comes here who is not a user,
// except where the server runs standalone and knows nobody.
func (g *greeter) GreetMe(ctx context.Context, _ *greeterv1.GreetMeRequest) (*greeterv1.GreetMeResponse, error) {
	name := "whoever you are"
	if user := auth.User(ctx); user != nil {
		name = user.ID
	}
	greeting, err := g.greeting(ctx, name)
	return &greeterv1.GreetMeResponse{Greeting: greeting}, err
}

func (g *greeter) GreetAll(req *greeterv1.GreetAllRequest, stream grpc.ServerStreamingServer[greeterv1.GreetAllResponse]) error {
	for _, name := range req.GetNames() {
		greeting, err := g.greeting(stream.Context(), name)
		if err != nil {
			return err
		}
		if err := stream.Send(&greeterv1.GreetAllResponse{Greeting: greeting}); err != nil {
			return err
		}
	}
	return nil
}

func (g *greeter) CountGreetings(context.Context, *greeterv1.CountGreetingsRequest) (*greeterv1.CountGreetingsResponse, error) {
	return &greeterv1.CountGreetingsResponse{Count: g.count.Load()}, nil
}

func (g *greeter) ResetGreetings(context.Context, *greeterv1.ResetGreetingsRequest) (*greeterv1.ResetGreetingsResponse, error) {
	return &greeterv1.ResetGreetingsResponse{Count: g.count.Swap(0)}, nil
}

func (g *greeter) GetLanguages(context.Context, *greeterv1.GetLanguagesRequest) (*greeterv1.GetLanguagesResponse, error) {
	return &greeterv1.GetLanguagesResponse{Tags: []string{"en"}}, nil
}

// greeting asks EchoService for the words. The context carries the user on, and
// the call ends with the caller's.
func (g *greeter) greeting(ctx context.Context, name string) (string, error) {
	resp, err := g.echo.Echo(ctx, &echov1.EchoRequest{Message: word.Get() + ", " + name})
	if err != nil {
		return "", err
	}
	g.count.Add(1)
	return resp.GetMessage(), nil
}
