// Bare is the least server that grpc-go can be. Bench measures how soon it
// answers.
package main

import (
	"context"
	"flag"
	"log"
	"net"

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
	log.Fatal(s.Serve(lis))
}
