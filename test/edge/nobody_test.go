package edge

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/test/edge/run"
	"github.com/go-easyops/easyops/test/serve"
)

// TestNobodyServes asks for services that no instance is listed of. Each says so in
// its own way, within the time that its route gives, and the log once.
func TestNobodyServes(t *testing.T) {
	const within = 2 * time.Second // of which the route gives one
	lines := serve.FreeAddr(t)
	e := run.Start(t, fmt.Sprintf(`
http: [{path: /, service: page, connect_timeout: 1s}]
grpc: [{service: echo.v1.EchoService, connect_timeout: 1s}]
tcp: [{listen: %q, service: lines, connect_timeout: 1s}]
`, lines), "-easyops.registry=local:"+filepath.Join(t.TempDir(), "registry"))
	client := dialEcho(t, e.Addr, nil)
	for range 3 {
		for name, ask := range map[string]func(context.Context) error{
			"http": func(ctx context.Context) error { return wantUnavailable(ctx, "http://"+e.Addr+"/a") },
			"grpc": func(ctx context.Context) error {
				if _, err := client.Echo(ctx, &echov1.EchoRequest{}); status.Code(err) != codes.Unavailable {
					return fmt.Errorf("want UNAVAILABLE, got %w", err)
				}
				return nil
			},
			"tcp": func(ctx context.Context) error { return wantClosed(ctx, lines) },
		} {
			begun := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			if err := ask(ctx); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			cancel()
			if took := time.Since(begun); took > within {
				t.Errorf("%s: the answer took %v", name, took)
			}
		}
	}
	if warnings := strings.Count(e.Log(), "no instance can be had"); warnings != 3 {
		t.Errorf("there are %d warnings beside the log of calls, want one for each route\n%s", warnings, e.Log())
	}
}

func wantUnavailable(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		return fmt.Errorf("want 503, got %s", resp.Status)
	}
	return nil
}

func wantClosed(ctx context.Context, addr string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	end, _ := ctx.Deadline()
	_ = conn.SetReadDeadline(end)
	if b, err := io.ReadAll(conn); len(b) > 0 {
		return fmt.Errorf("got %q, %w", b, err)
	}
	return nil
}
