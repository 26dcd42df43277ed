// Command changed serves echo.v1.EchoService with a change in it, as developers
// do in personal instances: each answer begins with "changed: ".
package main

import (
	"context"
	"flag"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
	_ "github.com/go-easyops/easyops/runtime/registry/etcd" // etcd:// URLs
)

func main() {
	flag.Parse()
	easyops.Main(echov1.StartEchoServiceServer(changed{}))
}

type changed struct {
	echov1.UnimplementedEchoServiceServer
}

func (changed) Echo(_ context.Context, req *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	return &echov1.EchoResponse{Message: "changed: " + req.GetMessage()}, nil
}
