// Easyops is the server of ../bare in the way of easyops, with all that is on by
// default, and the registry.
package main

import (
	"errors"
	"log"
	"net"
	"os"

	"github.com/go-easyops/easyops/bench/echo"
	echov1 "github.com/go-easyops/easyops/bench/echo/gen"
	"github.com/go-easyops/easyops/bench/serving"
	"github.com/go-easyops/easyops/runtime/easyops"
)

func main() {
	if err := serving.Run(os.Args[1:], serve); err != nil {
		log.Fatal(err)
	}
}

func serve(lis net.Listener, told serving.Told) error {
	opts := []easyops.ServerOption{easyops.WithFlags(nil), easyops.WithListener(lis), easyops.WithRegistry("local:" + told.Registry)}
	if told.TLS != nil {
		opts = append(opts, easyops.WithTLSFiles(told.Cert, told.Cert, told.CA))
	}
	service := easyops.Bind(echov1.RegisterEchoServiceServer, echov1.EchoServiceServer(echo.Server{}), nil)
	s, err := easyops.Start([]easyops.Service{service}, opts...)
	if err != nil {
		return err
	}
	if err := s.Wait(); err != nil {
		return err
	}
	return errors.New("the server has stopped")
}
