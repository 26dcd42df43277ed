package rotation

import (
	"context"
	"testing"
	"time"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
)

type slowKey struct{}

// callsInTheMiddle has calls begin while a new certificate gives the client new
// connections. A long stream keeps the old one open, and calls that were about to
// begin on it must not wait for the long stream to end: where gRPC shuts the old
// connection down at once, its NewStream waits for a quota that a transport which
// drains never gives.
func callsInTheMiddle(t *testing.T) {
	s := newSmall(t)
	short := s.client.lasting("20s") // so that it is time to move on to the next
	s.old.issue(t, short)
	s.start(t, s.server.option())
	begun, goOn := make(chan struct{}), make(chan struct{})
	client, conn, err := echov1.DialEchoService(s.options(easyops.DialUserToken(func(ctx context.Context) (string, error) {
		if ctx.Value(slowKey{}) != nil {
			begun <- struct{}{}
			<-goOn
		}
		return "", nil
	}))...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := client.Chat(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&echov1.ChatRequest{Message: "hi"}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	call := func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return echo(ctx, client)
	}
	slow := make(chan error)
	go func() { slow <- call(context.WithValue(t.Context(), slowKey{}, true)) }()
	<-begun

	s.old.issue(t, s.client)
	time.Sleep(2200 * time.Millisecond) // clients look at their files once a second, and have moved on
	if err := call(t.Context()); err != nil {
		t.Errorf("a call over the new connection: %v", err)
	}
	close(goOn)
	if err := <-slow; err != nil {
		t.Errorf("a call whose token took its time: %v", err)
	}
}

// dialsInTheMiddle has clients begin while a file is replaced over and over again,
// each time as a whole, between the two Stats of the first reading as well.
func dialsInTheMiddle(t *testing.T) {
	s := newSmall(t)
	s.addr = "127.0.0.1:1" // nobody is called
	data := read(t, s.client.ca())
	dialled := make(chan error)
	go func() { dialled <- dialOften(s.options(), 300) }()
	for {
		select {
		case err := <-dialled:
			if err != nil {
				t.Error(err)
			}
			return
		case <-time.After(time.Millisecond):
			replace(t, s.client.ca(), data)
		}
	}
}

func dialOften(opts []easyops.DialOption, times int) error {
	for range times {
		_, conn, err := echov1.DialEchoService(opts...)
		if err != nil {
			return err
		}
		conn.Close()
	}
	return nil
}
