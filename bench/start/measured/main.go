// Measured is the server of ../bare with what it takes to be measured, which is
// in the programs of all that easyops is compared with but in no server of users.
package main

import (
	"context"
	"log"
	"net"
	"os"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/go-easyops/easyops/bench/serving"
)

type server struct {
	testpb.UnimplementedTestServiceServer
}

func (server) EmptyCall(context.Context, *testpb.Empty) (*testpb.Empty, error) {
	return &testpb.Empty{}, nil
}

func main() {
	if err := serving.Run(os.Args[1:], serve); err != nil {
		log.Fatal(err)
	}
}

func serve(lis net.Listener, _ serving.Told) error {
	s := grpc.NewServer()
	testpb.RegisterTestServiceServer(s, server{})
	return s.Serve(lis)
}
