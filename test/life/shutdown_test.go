package life

import (
	"context"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/test/serve"
)

// patience is how long anything may take that should take milliseconds.
const patience = 20 * time.Second

func contextWithPatience(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), patience)
}

// TestFirstMinutes does what a reader of the README does with the example.
func TestFirstMinutes(t *testing.T) {
	url := localRegistry(t)
	s := serve.Start(t, "-easyops.registry="+url)

	out := command(t, serve.Build(t, serve.Grpcurl), "-plaintext", "-d", `{"message":"hi"}`, s.Addr, service+"/Echo")
	if !strings.Contains(out, `"message": "hi"`) {
		t.Errorf("grpcurl printed %s", out)
	}
	out = command(t, serve.Build(t, serve.EchoClient), "-easyops.registry="+url, "-n=2", "-message=ho")
	if want := "Echo     ho\nRepeat   ho ho\nCollect  ho ho\nChat     ho ho\n"; out != want {
		t.Errorf("echoclient printed\n%swant\n%s", out, want)
	}
	if code, body := do(t, http.MethodGet, "http://"+s.Addr+"/internal/health", nil); code != 200 || !strings.Contains(body, "READY") {
		t.Errorf("health: %d %q", code, body)
	}
}

// TestPleaseShutdown stops a server by its page while a call is in flight.
func TestPleaseShutdown(t *testing.T) {
	s := serve.Start(t, "-easyops.registry=none")
	page := "http://" + s.Addr + "/internal/pleaseshutdown"

	if code, body := do(t, http.MethodGet, page, nil); code != http.StatusMethodNotAllowed || !strings.Contains(body, "POST") {
		t.Errorf("GET: %d %q, want 405 and a sentence that names POST", code, body)
	}
	for _, refused := range []http.Header{
		{"Origin": {"http://evil.example"}},
		{"Host": {"evil.example"}},
		{"X-Forwarded-For": {"127.0.0.1"}},
		{"Sec-Fetch-Site": {"cross-site"}},
	} {
		if code, body := do(t, http.MethodPost, page, refused); code != http.StatusForbidden || len(strings.Fields(body)) < 3 {
			t.Errorf("POST with %v: %d %q, want 403 and a sentence", refused, code, body)
		}
	}
	if code, body := do(t, http.MethodGet, "http://"+s.Addr+"/internal/health", nil); code != 200 {
		t.Fatalf("after requests that change nothing: %d %q", code, body)
	}

	call := openCollect(t, s)
	if code, body := do(t, http.MethodPost, page, nil); code != http.StatusAccepted {
		t.Fatalf("POST: %d %q", code, body)
	}
	select {
	case <-s.Exited():
		t.Fatal("the server did not wait for the call in flight")
	case <-time.After(500 * time.Millisecond):
	}
	if err := call.Send(&echov1.CollectRequest{Message: "late"}); err != nil {
		t.Error(err)
	}
	resp, err := call.CloseAndRecv()
	if err != nil || resp.GetMessage() != "early\nlate" {
		t.Errorf("the call in flight: %v, %v", resp, err)
	}
	if code := s.Wait(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.Log())
	}
}

// openCollect opens a call that goes on until it is told, and returns when the
// server counts it as begun.
func openCollect(t *testing.T, s *serve.Server) grpc.ClientStreamingClient[echov1.CollectRequest, echov1.CollectResponse] {
	t.Helper()
	conn, err := grpc.NewClient(s.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	call, err := echov1.NewEchoServiceClient(conn).Collect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := call.Send(&echov1.CollectRequest{Message: "early"}); err != nil {
		t.Fatal(err)
	}
	begun := regexp.MustCompile("(?m)^" + collectBegun + "$")
	var metrics string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, metrics = do(t, http.MethodGet, "http://"+s.Addr+"/metrics", nil); begun.MatchString(metrics) {
			return call
		}
	}
	t.Fatalf("no call of Collect was counted:\n%s", metrics)
	return nil
}

// do makes a request on a connection of its own and returns the code and the
// body. A Host among the headers is the request's.
func do(t *testing.T, method, url string, header http.Header) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Host = header.Get("Host")
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// command runs a program that must succeed and returns what it printed.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := contextWithPatience(t)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = serve.Environment()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}
