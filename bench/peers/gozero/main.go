// Gozero is a zrpc server of go-zero with its defaults, but for shedding.
//
// It follows https://go-zero.dev/docs/tasks/grpc/server: a configuration, here
// without etcd, is read with all its defaults, and MustNewServer starts what it
// says. Metrics are served by its development server, which is on by default.
package main

import (
	"fmt"
	"os"

	"github.com/zeromicro/go-zero/core/conf"
	"github.com/zeromicro/go-zero/core/logx"
	"github.com/zeromicro/go-zero/zrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/go-easyops/easyops/bench/echo"
	echov1 "github.com/go-easyops/easyops/bench/echo/gen"
	"github.com/go-easyops/easyops/bench/peers/internal/peer"
	"github.com/go-easyops/easyops/bench/serving"
)

var description = serving.Description{
	Name:   "gozero",
	Module: "github.com/zeromicro/go-zero",
	Features: map[string]string{
		serving.Recovery:  "its default, of all calls",
		serving.Metrics:   "its default for Prometheus, of unary calls, and its own statistics",
		serving.AccessLog: "its default, all unary calls with their requests to stderr",
		serving.Limits:    "its defaults: a breaker, two seconds for each unary call; shedding is off",
	},
	Security: []string{serving.Plaintext, serving.TLS},
	Notes: "tracing without an exporter is on by default, too; shedding, on by default, " +
		"is off (CpuThreshold: 0), because it refuses calls when all of the CPU is used, which is what is measured",
}

// configuration is as goctl writes it. Whatever it does not name has the default.
const configuration = `
Name: echo.rpc
ListenOn: %s
CpuThreshold: 0
DevServer:
  Host: 127.0.0.1
  Port: 0
`

func main() { peer.MainAt(description, serve) }

func serve(addr string, told serving.Told) error {
	var c zrpc.RpcServerConf
	if err := conf.LoadFromYamlBytes(fmt.Appendf(nil, configuration, addr), &c); err != nil {
		return err
	}
	s, err := zrpc.NewServer(c, func(s *grpc.Server) { echov1.RegisterEchoServiceServer(s, echo.Server{}) })
	if err != nil {
		return err
	}
	logx.SetWriter(logx.NewWriter(os.Stderr))
	defer s.Stop()
	if told.Mutual != nil {
		s.AddOptions(grpc.Creds(credentials.NewTLS(told.Mutual)))
	}
	s.Start()
	return nil
}
