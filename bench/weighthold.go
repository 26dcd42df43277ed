package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
)

// holding is what shall be open to a server. What is open already counts.
type holding struct {
	Addr    string
	Conns   int // each has made one call
	Streams int // spread over the connections; each has had a message each way
}

// held is the answer. Err is the first error, if any.
type held struct {
	Err string
}

// openers is how many connections or streams are opened at a time: servers
// should not be crowded by what comes, but by what stays.
const openers = 8

// hold opens what it reads, and keeps it until its input ends.
func hold(args []string) error {
	fs := flag.NewFlagSet("hold", flag.ExitOnError)
	ca := fs.String("ca", "", "a file with the authority of the servers, for TLS")
	_ = fs.Parse(args) // it exits

	creds, err := credentialsOf(*ca, "")
	if err != nil {
		return err
	}
	k := &keeper{creds: creds}
	requests, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var h holding
		if err := requests.Decode(&h); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var answer held
		if err := k.hold(h); err != nil {
			answer.Err, _, _ = strings.Cut(err.Error(), "\n")
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
}

// keeper has what is open.
type keeper struct {
	creds   credentials.TransportCredentials
	conns   []echov1.EchoServiceClient
	streams []chat
}

type chat = grpc.BidiStreamingClient[echov1.ChatRequest, echov1.ChatResponse]

func (k *keeper) hold(h holding) (err error) {
	k.conns, err = more(k.conns, h.Conns, func(int) (echov1.EchoServiceClient, error) { return k.connect(h.Addr) })
	if err != nil || h.Streams == 0 {
		return err
	}
	k.streams, err = more(k.streams, h.Streams, func(i int) (chat, error) { return talk(k.conns[i%len(k.conns)]) })
	return err
}

// more lengthens a list, with some openers side by side.
func more[T any](list []T, want int, open func(i int) (T, error)) ([]T, error) {
	first := len(list)
	list = append(list, make([]T, max(0, want-first))...)
	var next atomic.Int64
	errs := make([]error, openers)
	var wg sync.WaitGroup
	for o := range openers {
		wg.Go(func() {
			for errs[o] == nil {
				i := first + int(next.Add(1)) - 1
				if i >= want {
					return
				}
				list[i], errs[o] = open(i)
			}
		})
	}
	wg.Wait()
	return list, errors.Join(errs...)
}

// connect opens a connection and makes one call by it.
func (k *keeper) connect(addr string) (echov1.EchoServiceClient, error) {
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(k.creds))
	if err != nil {
		return nil, err
	}
	client := echov1.NewEchoServiceClient(conn)
	return client, callOf(context.Background(), client, unary)()
}

// talk opens a stream and has one message answered.
func talk(client echov1.EchoServiceClient) (chat, error) {
	s, err := client.Chat(context.Background())
	if err != nil {
		return nil, err
	}
	if err := s.Send(&echov1.ChatRequest{Message: strings.Repeat("x", smallMessage)}); err != nil {
		return nil, err
	}
	_, err = s.Recv()
	return s, err
}
