// Bare is the least server that grpc-go can be. Bench measures how soon it
// answers. It ends with its input.
package main

import (
	"context"
	"flag"
	"io"
	"log"
	"net"
	"os"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"
)

type server struct {
	testpb.UnimplementedTestServiceServer
}

func (server) EmptyCall(context.Context, *testpb.Empty) (*testpb.Empty, error) {
	return &testpb.Empty{}, nil
}

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "the address to listen on")
	flag.Parse()
	lis, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	s := grpc.NewServer()
	testpb.RegisterTestServiceServer(s, server{})
	go endWithInput()
	log.Fatal(s.Serve(lis))
}

// endWithInput ends the process with the one that started it.
func endWithInput() {
	_, _ = io.Copy(io.Discard, os.Stdin) // whatever ended it, it has ended
	os.Exit(0)
}
