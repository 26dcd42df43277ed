//go:build real

package browser

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/easyopstest"
	"github.com/go-easyops/easyops/test/access/routes"
)

// site is a server whose pages are walked.
type site struct {
	base   string
	get    routes.Get
	client echov1.EchoServiceClient
}

type echo struct {
	echov1.UnimplementedEchoServiceServer
}

func (echo) Echo(_ context.Context, req *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	if req.GetMessage() == "" {
		return nil, status.Error(codes.InvalidArgument, "the message is empty: <b>write one</b>")
	}
	return &echov1.EchoResponse{Message: req.GetMessage()}, nil
}

// newSite serves an echo that has been called, well and badly.
func newSite(t *testing.T) *site {
	t.Helper()
	s := easyopstest.StartStandalone(t, []easyops.Service{echov1.BindEchoServiceServer(echo{})},
		easyops.WithLogger(slog.New(slog.DiscardHandler)),
		easyops.WithInfo("greeting", func() string { return "hello\nwith a long line: " + fmt.Sprint(make([]int, 100)) }),
		easyops.WithCheck("database", func(context.Context) error { return nil }),
	)
	client, conn, err := echov1.DialEchoService(s.Client())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	base := "http://" + s.Addr().String()
	site := &site{base: base, client: client, get: routes.ByClient(&http.Client{Transport: tr, Timeout: 30 * time.Second}, base, nil)}
	for range 20 {
		site.call(t)
	}
	return site
}

func (s *site) call(t *testing.T) {
	t.Helper()
	if _, err := s.client.Echo(t.Context(), &echov1.EchoRequest{Message: "hi"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Echo(t.Context(), &echov1.EchoRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Fatal(err)
	}
}

// plantedPage has every fault that is looked for.
func plantedPage(t *testing.T) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'sha256-va4lPZhm3oAQv0xA6yIlMletf/I8HdPO5OyjXG2U31c='")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!doctype html><meta name="viewport" content="width=device-width"><body><h3>x</h3><input><button></button><img src="data:,"><svg></svg>
<table><tr><td>cell</table><i id=a>x</i><i id=a tabindex=3>y</i><a href="#none">z</a><font color="#ccc">pale</font><p style="color:red">s</p>
<script>alert(1)</script><script>console.error("planted")</script><pre>`+fmt.Sprint(make([]int, 300)))
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}
