package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/go-easyops/easyops/bench/serving"
	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	greeterv1 "github.com/go-easyops/easyops/example/gen/greeter/v1"
	guestbookv1 "github.com/go-easyops/easyops/example/gen/guestbook/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// operator is who may see the pages and the metrics of the server.
const operator = "operator"

// orders are what the server is asked for.
type orders struct {
	Changing bool // the instances that its client knows change
}

// answered is what it answers.
type answered struct {
	serving.Usage
	Changes int64 // that were made so far
}

// operate serves the services of the examples, with a client of another service in
// the same process. It writes its address, and what it has used for each
// line of orders.
func operate(args []string) error {
	fs := flag.NewFlagSet("operate", flag.ExitOnError)
	c := &crowd{}
	fs.IntVar(&c.size, "instances", 1000, "how many instances the other service has")
	fs.IntVar(&c.port, "port", 0, "where these listen")
	dir := fs.String("registry", "", "a directory for the registry of the server")
	spec := fs.String("auth", "", "how callers are authenticated")
	profile := fs.String("profile", "", "a file for a CPU profile")
	_ = fs.Parse(args) // it exits

	s, err := easyops.Start([]easyops.Service{
		echov1.BindEchoServiceServer(echo{}),
		greeterv1.BindGreeterServiceServer(greeterv1.UnimplementedGreeterServiceServer{}),
		guestbookv1.BindGuestbookServiceServer(guestbookv1.UnimplementedGuestbookServiceServer{}),
	}, easyops.WithFlags(nil), easyops.WithAddr("127.0.0.1:0"), easyops.WithRegistry("local:"+*dir), easyops.WithAuth(*spec), easyops.WithOperators("user:"+operator), easyops.WithDrainDelay(0))
	if err != nil {
		return err
	}
	err = c.beOperated(s, *profile)
	return errors.Join(err, s.Shutdown(context.Background()))
}

// beOperated calls the other service, so that its client has what it needs, and
// then follows orders.
func (c *crowd) beOperated(s *easyops.Server, profile string) error {
	conn, err := easyops.Dial(crowdService, easyops.WithRegistry(c.asRegistry()), easyops.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, nil))))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := echoOnce(context.Background(), echov1.NewEchoServiceClient(conn)); err != nil {
		return fmt.Errorf("the other service: %w", err)
	}
	stop, err := serving.StartProfile(profile)
	if err != nil {
		return err
	}
	defer stop()
	answers := json.NewEncoder(os.Stdout)
	if err := answers.Encode(s.Addr().String()); err != nil {
		return err
	}
	return c.follow(json.NewDecoder(os.Stdin), answers)
}

func (c *crowd) follow(in *json.Decoder, answers *json.Encoder) error {
	for {
		var o orders
		if err := in.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		c.changing.Store(o.Changing)
		u, err := serving.OwnUsage()
		if err != nil {
			return err
		}
		if err := answers.Encode(answered{u, c.changes.Load()}); err != nil {
			return err
		}
	}
}
