package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// edge is where the edge is.
type edge struct {
	File            string // the routes file
	Web, Admin, TCP string // addresses
	Socket          string // of the hand-over
}

// newEdge writes a routes file to a directory, with ports that are free now.
func newEdge(dir string) (*edge, error) {
	e := &edge{File: filepath.Join(dir, "routes.yaml"), Socket: filepath.Join(dir, "edge.handover")}
	for _, addr := range []*string{&e.Web, &e.Admin, &e.TCP} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // when all are chosen
		*addr = l.Addr().String()
	}
	text := fmt.Sprintf(`listen: %q
admin: %q
http:
  - {path: /guestbook/, service: %s, allow: EVERYONE}
grpc:
  - {service: "*"}
tcp:
  - {listen: %q, service: %s}
`, e.Web, e.Admin, pageService, e.TCP, linesService)
	return e, os.WriteFile(e.File, []byte(text), 0o600)
}

// Device is the TCP port in the words of bash.
func (e *edge) Device() string { return "/dev/tcp/" + strings.Replace(e.TCP, ":", "/", 1) }

// await waits until the edge is ready.
func (e *edge) await(ctx context.Context) error {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.Admin+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(resp.Status)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the edge is not ready after %v: %w", startTimeout, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
