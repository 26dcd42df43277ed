// Easyops is the server of ../bare in the way of easyops, with all that is on
// by default. Bench measures how soon it answers. It ends with its input.
package main

import (
	"context"
	"flag"
	"io"
	"os"

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
	go endWithInput()
	service := easyops.Bind(testpb.RegisterTestServiceServer, testpb.TestServiceServer(server{}), nil)
	easyops.Main(easyops.Start([]easyops.Service{service}))
}

// endWithInput ends the process with the one that started it.
func endWithInput() {
	_, _ = io.Copy(io.Discard, os.Stdin) // whatever ended it, it has ended
	os.Exit(0)
}
