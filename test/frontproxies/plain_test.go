//go:build real

package frontproxies

import (
	"context"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
)

// TestPlainListener listens without TLS: by HAProxy for HTTP and gRPC at one
// address, by nginx for one of them.
func TestPlainListener(t *testing.T) {
	const pages, calls = "http: [{service: page, allow: EVERYONE}]\n", "grpc: [{service: \"*\", allow: EVERYONE}]\n"
	url := newRegistry(t)
	startBackends(t, 1, url)
	for _, c := range []struct {
		name        string
		proxy       proxy
		routes      string
		http, calls bool
	}{
		{"haproxy", proxies[0], pages + calls, true, true},
		{"nginx, HTTP", proxies[1], pages, true, false},
		{"nginx, gRPC", proxies[1], calls, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFront(t, c.proxy, url)
			write(t, filepath.Join(f.dir, "routes.yaml"), "listen: \""+f.addr+"\"\n"+c.routes)
			f.run(t)
			if c.http {
				f.awaitPlain(t, get(http.DefaultClient, "http://"+f.addr+"/"))
			}
			if c.calls {
				conn, err := grpc.NewClient(f.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = conn.Close() })
				f.awaitPlain(t, echoBy(echov1.NewEchoServiceClient(conn)))
			}
		})
	}
	http.DefaultClient.CloseIdleConnections()
}

func (f *front) awaitPlain(t *testing.T, do func(context.Context) error) {
	t.Helper()
	eventually(t, "an answer by "+f.name, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return do(ctx)
	})
}
