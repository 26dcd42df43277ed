// Command canary is a server that has secrets in every place where a program has
// them, for the test that looks for them everywhere else.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/cache"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/flags"
	_ "github.com/go-easyops/easyops/runtime/registry/etcd" // etcd:// URLs
)

var (
	_ = flag.String("db-password", "", "a secret by its name, of package flag")
	_ = flags.New("canary.signing-key", "", "a secret by its name")
	_ = flags.New("canary.pin", "", "a secret because it says so", flags.Secret(), flags.Validate(func(v string) error {
		if v == "" || v[0] == 'c' {
			return nil
		}
		return fmt.Errorf("%q is no pin: it begins with c", v)
	}))
	_ = flags.New("canary.database", "", "a URL with a password in it")
	_ = flags.New("canary.plain", "", "no secret: the control")

	users = cache.New[string, string]("users", cache.Options{MaxEntries: 10, TTL: time.Minute})
)

type echo struct {
	echov1.UnimplementedEchoServiceServer
}

// Echo keeps what it gets, and fails or panics where it is asked to.
func (echo) Echo(_ context.Context, req *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	users.Put(req.GetMessage(), req.GetMessage())
	switch req.GetMessage() {
	case "panic":
		panic("panicked, as asked")
	case "fail":
		return nil, errors.New("failed, as asked")
	}
	return &echov1.EchoResponse{}, nil
}

func main() {
	flag.Parse()
	easyops.Main(echov1.StartEchoServiceServer(echo{}))
}
