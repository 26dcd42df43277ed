package monitoring

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
)

const (
	operator = "prometheus" // who may scrape
	service  = "echo.v1.EchoService"
)

// fixture is a server with all on that makes metrics, and who may scrape it.
type fixture struct {
	*authority
	server  *easyops.Server
	scraper certificate
	client  *http.Client
}

type echo struct {
	echov1.UnimplementedEchoServiceServer
}

// Echo does as the message says.
func (*echo) Echo(ctx context.Context, req *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	switch req.GetMessage() {
	case "panic":
		panic("as the caller asked")
	case "fault":
		return nil, status.Error(codes.Internal, "as the caller asked")
	case "slow":
		time.Sleep(30 * time.Millisecond) // what the histograms are to show
	}
	return &echov1.EchoResponse{Message: req.GetMessage()}, ctx.Err()
}

func start(t *testing.T, opts ...easyops.ServerOption) *fixture {
	t.Helper()
	a := newAuthority(t)
	own := a.issue(t, "echo", service)
	s := startServer(t, append([]easyops.ServerOption{
		easyops.WithTLSFiles(own.cert, own.key, own.ca),
		easyops.WithAuth("mtls", a.spec("easyops-users", "user"), a.spec("easyops-services", "service")),
		easyops.WithOperators("service:" + operator),
	}, opts...)...)
	f := &fixture{authority: &a, server: s, scraper: a.issue(t, operator)}
	f.client = f.scraper.client(t)
	return f
}

// startServer starts an echo with what makes further metrics.
func startServer(t *testing.T, opts ...easyops.ServerOption) *easyops.Server {
	t.Helper()
	all := []easyops.ServerOption{
		easyops.WithFlags(nil),
		easyops.WithAddr("127.0.0.1:0"),
		easyops.WithLogger(slog.New(slog.DiscardHandler)),
		easyops.WithRegistry("local:" + shortDir(t)),
		easyops.WithMessageSizes(),
		easyops.WithDrainDelay(0),
		easyops.WithHTTP("GET /page", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})),
	}
	s, err := easyops.Start([]easyops.Service{echov1.BindEchoServiceServer(&echo{})}, append(all, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	<-s.Ready()
	return s
}

// shortDir is a directory for sockets, whose names must be short.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "easyops-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// addr is the server's, by the name that its certificate has.
func (f *fixture) addr(t *testing.T) string {
	t.Helper()
	_, port, err := net.SplitHostPort(f.server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("localhost", port)
}

// dial returns a client of the server that calls as the operator.
func (f *fixture) dial(t *testing.T) (echov1.EchoServiceClient, *easyops.Conn) {
	t.Helper()
	client, conn, err := echov1.DialEchoService(easyops.WithFlags(nil), easyops.DialTarget("passthrough:///"+f.addr(t)),
		easyops.WithTLSFiles(f.scraper.cert, f.scraper.key, f.scraper.ca), easyops.DialServerID("localhost"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return client, conn
}

// scrape asks for the metrics in the form that accept names.
func (f *fixture) scrape(t *testing.T, path, accept string) (body []byte, contentType string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+f.addr(t)+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	resp, err := f.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v\n%s", path, resp.Status, err, body)
	}
	return body, resp.Header.Get("Content-Type")
}

// families are the metrics by name.
func (f *fixture) families(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	body, _ := f.scrape(t, "/metrics", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	return parse(t, body)
}
