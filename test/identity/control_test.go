package identity

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/test/identity/matrix"
)

// TestControl: a server that checks callers in an interceptor, as is usual, reads
// the request first. So what TestMatrix sends, the headers alone, does tell
// servers apart.
func TestControl(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.UnaryInterceptor(func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
		return nil, status.Error(codes.Unauthenticated, "who are you?")
	}))
	matrix.RegisterMatrixServer(s, impl{})
	served := make(chan error, 1)
	go func() { served <- s.Serve(lis) }()
	t.Cleanup(func() {
		s.Stop()
		<-served
	})
	p := newPeer(t, "localhost"+lis.Addr().String()[len("127.0.0.1"):], ways[0], nil)
	if _, err := p.try(t, 300*time.Millisecond, service+"/UsersUnary", nil, false); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("answered before the request was there: %v", err)
	}
	if got, err := p.try(t, 10*time.Second, service+"/UsersUnary", http.Header{}, true); err != nil || got.code != codes.Unauthenticated {
		t.Errorf("%v, %v", got, err)
	}
}
