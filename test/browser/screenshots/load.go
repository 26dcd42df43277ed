package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	greeterv1 "github.com/go-easyops/easyops/example/gen/greeter/v1"
)

// callers are users and services, and one that calls for the other.
var callers = []struct {
	user, service string
	rate          float64 // calls a second
}{{"alice", "", 9}, {"bob", "", 4}, {"", "billing", 12}, {"", "search", 6}, {"carol", "frontend", 3}}

// live has users and services call until the context ends,
// and an operator work meanwhile.
func (c *cluster) live(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for n, caller := range callers {
		conns, err := c.connect(caller.service)
		if err != nil {
			return err
		}
		wg.Go(func() {
			defer conns.close()
			conns.call(c.as(ctx, caller.user), caller.rate, n)
		})
	}
	return c.operate(ctx)
}

// operate does what leaves something to see: changes, and one that is refused.
func (c *cluster) operate(ctx context.Context) error {
	return errors.Join(
		c.do(ctx, http.MethodPost, echoes[0], "/internal/unregister?reason=ticket+4711", ""),
		c.do(ctx, http.MethodPost, echoes[0], "/internal/unregister?undo&reason=ticket+4711+is+done", ""),
		c.do(ctx, http.MethodPost, echoes[0], "/internal/parameters?ttl=2h&reason=looking+for+slow+calls", "easyops.log-level=debug"),
		c.do(ctx, http.MethodPost, echoes[0], "/internal/parameters?reason=all+calls+of+an+hour", "easyops.access-log-sample=10"),
	)
}

// as is a context of calls in the name of a user.
func (c *cluster) as(ctx context.Context, user string) context.Context {
	if user == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.token(user, "staff"))
}

// conns are the connections of a caller to the greeter and to an echo.
type conns struct{ greeter, echo *grpc.ClientConn }

func (c *cluster) connect(service string) (*conns, error) {
	config := &tls.Config{RootCAs: c.pool(), ServerName: "localhost", MinVersion: tls.VersionTLS13}
	if service != "" {
		cert, err := c.certificate(service)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{cert}
	}
	secure := grpc.WithTransportCredentials(credentials.NewTLS(config))
	g, err := grpc.NewClient(greeter, secure)
	e, err2 := grpc.NewClient(echoes[0], secure)
	return &conns{g, e}, errors.Join(err, err2)
}

func (c *conns) close() {
	c.greeter.Close()
	c.echo.Close()
}

// call calls at a rate that comes and goes, until the context ends. Some calls
// fail, as calls do.
func (c *conns) call(ctx context.Context, rate float64, n int) {
	greet, echo := greeterv1.NewGreeterServiceClient(c.greeter), echov1.NewEchoServiceClient(c.echo)
	begin := time.Now()
	for i := n; ctx.Err() == nil; i++ {
		wave := 1 + 0.6*math.Sin(time.Since(begin).Seconds()/23+float64(n))
		select {
		case <-time.After(time.Duration(float64(time.Second) / rate / wave)):
		case <-ctx.Done():
			return
		}
		_, _ = echo.Echo(ctx, &echov1.EchoRequest{Message: "hi"})
		switch {
		case i%3 == 0:
			_, _ = greet.Greet(ctx, &greeterv1.GreetRequest{Name: "Ada"})
		case i%7 == 1:
			_, _ = greet.GreetMe(ctx, &greeterv1.GreetMeRequest{}) // services may not
		case i%5 == 2:
			drain(echo.Repeat(ctx, &echov1.RepeatRequest{Message: "hi", Count: 20}))
		case i%31 == 4:
			drain(echo.Repeat(ctx, &echov1.RepeatRequest{Message: "hi", Count: -1})) // no count
		}
	}
}

func drain(s grpc.ServerStreamingClient[echov1.RepeatResponse], err error) {
	for err == nil {
		if _, err = s.Recv(); errors.Is(err, io.EOF) {
			return
		}
	}
}
