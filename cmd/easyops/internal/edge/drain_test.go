package edge

import (
	"bufio"
	"fmt"
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// An edge that drains ends what would go on for ever: streams with a status, and
// connections that have become something else.
func TestDrain(t *testing.T) {
	p := newPlace(t)
	upgraded := make(chan error, 1)
	p.behind([]easyops.Service{echov1.BindEchoServiceServer(echoServer{})}, easyops.WithHTTPService("page", "/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		_ = rw.Flush()
		_, err = rw.ReadByte()
		upgraded <- err
	}), everyone))
	e := p.edge("http:\n- {service: page, allow: EVERYONE}\ngrpc:\n- {service: \"*\"}\n")
	conn := dial(t, e.Addr())
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer user-alice")
	chat, err := echov1.NewEchoServiceClient(connect(t, e.Addr())).Chat(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := chat.Send(&echov1.ChatRequest{Message: "hello"}); err != nil {
		t.Fatal(err)
	}
	if _, err := chat.Recv(); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := e.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if _, err := chat.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream: %v", err)
	}
	if err := <-upgraded; err == nil {
		t.Error("the service still has the connection")
	}
}
