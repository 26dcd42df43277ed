package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/grpc"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
)

// kind is what is called.
type kind string

// The kinds of calls. Requests and responses are of the same size.
const (
	unary        kind = "unary 100 B"
	unaryLarge   kind = "unary 4 KiB"
	serverStream kind = "stream of 100" // responses of 100 B
	pingPong     kind = "ping-pong"     // messages of 100 B there and back, on a stream for each caller; a call is one round trip
)

const (
	smallMessage      = 100
	largeMessage      = 4 << 10
	messagesPerStream = 100
)

// workload is what is called, and how much of it.
type workload struct {
	Kind        kind
	Concurrency int // calls in flight
}

func (w workload) String() string { return fmt.Sprintf("%s, concurrency %d", w.Kind, w.Concurrency) }

// caller makes calls, one after the other.
type caller struct {
	call func() error
	end  func() // ends what is open between calls
}

// contexts returns the context of the next call, or stream.
type contexts = func() context.Context

// callerOf returns a caller of a kind. All that it does ends with its contexts.
func callerOf(ctx contexts, client echov1.EchoServiceClient, k kind) caller {
	small := strings.Repeat("x", smallMessage)
	switch k {
	case unaryLarge:
		return echoCaller(ctx, client, strings.Repeat("x", largeMessage))
	case serverStream:
		return repeatCaller(ctx, client, small)
	case pingPong:
		return chatCaller(ctx, client, small)
	default:
		return echoCaller(ctx, client, small)
	}
}

// callOf returns a function that makes one call.
func callOf(ctx context.Context, client echov1.EchoServiceClient, k kind) func() error {
	return callerOf(func() context.Context { return ctx }, client, k).call
}

func nothing() {}

func echoCaller(ctx contexts, client echov1.EchoServiceClient, message string) caller {
	req := &echov1.EchoRequest{Message: message}
	return caller{func() error {
		_, err := client.Echo(ctx(), req)
		return err
	}, nothing}
}

func repeatCaller(ctx contexts, client echov1.EchoServiceClient, message string) caller {
	req := &echov1.RepeatRequest{Message: message, Count: messagesPerStream}
	return caller{func() error {
		s, err := client.Repeat(ctx(), req)
		for err == nil {
			_, err = s.Recv()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}, nothing}
}

// chatCaller keeps its stream until the end, or until there is an error.
func chatCaller(ctx contexts, client echov1.EchoServiceClient, message string) caller {
	var s grpc.BidiStreamingClient[echov1.ChatRequest, echov1.ChatResponse]
	req := &echov1.ChatRequest{Message: message}
	call := func() (err error) {
		if s == nil {
			if s, err = client.Chat(ctx()); err != nil {
				return err
			}
		}
		if err = s.Send(req); err == nil || errors.Is(err, io.EOF) { // of which Recv says why
			_, err = s.Recv()
		}
		if err != nil {
			s = nil
		}
		return err
	}
	return caller{call, func() {
		if s == nil || s.CloseSend() != nil {
			return
		}
		for err := error(nil); err == nil; {
			_, err = s.Recv()
		}
	}}
}
