// Easyops is the server of ../bare in the way of easyops, with all that is on
// by default. Bench measures how soon it answers.
package main

import (
	"context"
	"flag"

	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/go-easyops/easyops/runtime/easyops"
)

type server struct {
	testpb.UnimplementedTestServiceServer
}

func (server) EmptyCall(context.Context, *testpb.Empty) (*testpb.Empty, error) {
	return &testpb.Empty{}, nil
}

func main() {
	flag.Parse()
	service := easyops.Bind(testpb.RegisterTestServiceServer, testpb.TestServiceServer(server{}), nil)
	easyops.Main(easyops.Start([]easyops.Service{service}))
}
