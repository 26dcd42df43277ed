// Command echoclient calls echo.v1.EchoService. It finds the server in the
// registry; where nothing is configured, that is the one of this machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	_ "github.com/go-easyops/easyops/runtime/registry/etcd" // etcd:// URLs
)

var (
	method  = flag.String("method", "all", "the method to call: Echo, Repeat, Collect, Chat or all")
	message = flag.String("message", "hi", "what to say")
	count   = flag.Int("n", 3, "how many messages a stream carries")
	timeout = flag.Duration("timeout", 40*time.Second, "how long all calls may take; 0 is for ever")
)

func main() {
	flag.Parse()
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "echoclient:", err)
		os.Exit(1)
	}
}

// call is a method, with what it answered in one line.
type call struct {
	method string
	do     func(context.Context, echov1.EchoServiceClient) (string, error)
}

var calls = []call{{"Echo", echo}, {"Repeat", repeat}, {"Collect", collect}, {"Chat", chat}}

func run(out io.Writer) error {
	chosen, err := choose(*method)
	if err != nil {
		return err
	}
	if *count < 0 || *count > math.MaxInt32 {
		return fmt.Errorf("-n=%d: it must be between 0 and %d", *count, math.MaxInt32)
	}
	client, conn, err := echov1.DialEchoService()
	if err != nil {
		return err
	}
	defer conn.Close()

	ctx := context.Background()
	if *timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *timeout)
		defer cancel()
	}
	for _, c := range chosen {
		answer, err := c.do(ctx, client)
		if err != nil {
			return fmt.Errorf("%s: %w", c.method, err)
		}
		fmt.Fprintf(out, "%-8s %s\n", c.method, answer)
	}
	return nil
}

func choose(name string) ([]call, error) {
	if name == "all" {
		return calls, nil
	}
	i := slices.IndexFunc(calls, func(c call) bool { return strings.EqualFold(c.method, name) })
	if i < 0 {
		return nil, fmt.Errorf("-method=%s: there is no such method; it is Echo, Repeat, Collect, Chat or all", name)
	}
	return calls[i : i+1], nil
}

func echo(ctx context.Context, client echov1.EchoServiceClient) (string, error) {
	resp, err := client.Echo(ctx, &echov1.EchoRequest{Message: *message})
	return resp.GetMessage(), err
}

func repeat(ctx context.Context, client echov1.EchoServiceClient) (string, error) {
	stream, err := client.Repeat(ctx, &echov1.RepeatRequest{Message: *message, Count: int32(*count)})
	if err != nil {
		return "", err
	}
	var heard []string
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return strings.Join(heard, " "), nil
		}
		if err != nil {
			return "", err
		}
		heard = append(heard, resp.GetMessage())
	}
}

func collect(ctx context.Context, client echov1.EchoServiceClient) (string, error) {
	stream, err := client.Collect(ctx)
	if err != nil {
		return "", err
	}
	for range *count {
		// An error of Send is only EOF; CloseAndRecv has the reason.
		if stream.Send(&echov1.CollectRequest{Message: *message}) != nil {
			break
		}
	}
	resp, err := stream.CloseAndRecv()
	return strings.ReplaceAll(resp.GetMessage(), "\n", " "), err
}

func chat(ctx context.Context, client echov1.EchoServiceClient) (string, error) {
	stream, err := client.Chat(ctx)
	if err != nil {
		return "", err
	}
	var heard []string
	for range *count {
		if err := stream.Send(&echov1.ChatRequest{Message: *message}); err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		resp, err := stream.Recv()
		if err != nil {
			return "", err
		}
		heard = append(heard, resp.GetMessage())
	}
	if err := stream.CloseSend(); err != nil {
		return "", err
	}
	switch _, err := stream.Recv(); {
	case err == nil:
		return "", errors.New("an answer to no message")
	case !errors.Is(err, io.EOF):
		return "", err
	}
	return strings.Join(heard, " "), nil
}
