// Package debug asks a server that runs for profiles, traces and dumps, by the
// tools that people have for them.
package debug

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/test/serve"
)

// canary is what callers send and no profile may hold.
const canary = "canary-5f0c1d"

const pages = "/internal/debug/"

// busy is a server that answers calls until the test ends.
func busy(t *testing.T, flags ...string) *serve.Server {
	t.Helper()
	s := serve.Start(t, flags...)
	conn, err := grpc.NewClient(s.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	client := echov1.NewEchoServiceClient(conn)
	ctx, cancel := context.WithCancel(t.Context())
	ctx = metadata.AppendToOutgoingContext(ctx, "x-canary", canary)
	done := make(chan struct{})
	call := func() error {
		_, err := client.Echo(ctx, &echov1.EchoRequest{Message: canary})
		return err
	}
	if err := call(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = call()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = conn.Close()
	})
	return s
}

// tool runs a tool of Go and returns what it says.
func tool(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", append([]string{"tool"}, args...)...)
	cmd.Env = append(os.Environ(), "PPROF_TMPDIR="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("go tool %s: %v\n%.2000s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// fetch asks for a page as a program does that accepts anything.
func fetch(t *testing.T, s *serve.Server, page string, accept ...string) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr+pages+page, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range accept {
		r.Header.Set("Accept", a)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v, %s: %.500s", page, err, resp.Status, body)
	}
	return body
}

func save(t *testing.T, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// unpacked is what is in a profile.
func unpacked(t *testing.T, b []byte) []byte {
	t.Helper()
	if !bytes.HasPrefix(b, []byte("\x1f\x8b")) {
		return b
	}
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
