package life

import (
	"crypto/tls"
	"io"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/test/serve"
)

// TestInFlight stops a server while a call is open, one for each way that
// calls take into the server, and wants the call to be answered before the end.
func TestInFlight(t *testing.T) {
	h2 := func(protocols *http.Protocols) { protocols.SetHTTP2(true) }
	both := func(protocols *http.Protocols) { protocols.SetHTTP1(true); protocols.SetHTTP2(true) }
	h1 := func(protocols *http.Protocols) { protocols.SetHTTP1(true) }
	for name, begin := range map[string]func(*testing.T, *serve.Server, serve.Certs) func() string{
		"grpc-go":                  collectByGRPC,
		"connect, h2":              collectByConnect(h2),
		"connect, h2 and http/1.1": collectByConnect(both),
		"page, h2":                 page(h2),
		"page, h2 and http/1.1":    page(both),
		"page, http/1.1":           page(h1),
	} {
		t.Run(name, func(t *testing.T) {
			certs := serve.NewCerts(t)
			s := serve.Start(t, append(certs.Flags(), "-easyops.registry=none", "-easyops.drain-delay=0s")...)
			finish := begin(t, s, certs)
			s.Signal(t, syscall.SIGTERM)
			select {
			case <-s.Exited():
				t.Error("the server did not wait for the call in flight")
			case <-time.After(300 * time.Millisecond):
			}
			if fault := finish(); fault != "" {
				t.Errorf("the call in flight: %s\n%s", fault, s.Log())
			}
			if code := s.Wait(t); code != 0 {
				t.Errorf("exit code %d\n%s", code, s.Log())
			}
		})
	}
}

// httpClient trusts the certificates and speaks what allow says.
func httpClient(t *testing.T, certs serve.Certs, allow func(*http.Protocols)) *http.Client {
	t.Helper()
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: certs.Pool},
		Protocols:       new(http.Protocols),
	}
	allow(transport.Protocols)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// awaitLine waits until a line of the metrics matches.
func awaitLine(t *testing.T, s *serve.Server, certs serve.Certs, line string) {
	t.Helper()
	client := httpClient(t, certs, func(p *http.Protocols) { p.SetHTTP1(true) })
	want := regexp.MustCompile("(?m)^" + line + "$")
	var body []byte
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		resp, err := client.Get("https://" + s.Addr + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		body, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if want.Match(body) {
			return
		}
	}
	t.Fatalf("no line of the metrics matches %s:\n%s", line, body)
}

// collectBegun matches the metric of one Collect call that began.
const collectBegun = `grpc_server_call_started\w*\{[^}]*Collect[^}]*\} 1`

func collectByGRPC(t *testing.T, s *serve.Server, certs serve.Certs) func() string {
	conn, err := grpc.NewClient(s.Addr, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: certs.Pool})))
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
	awaitLine(t, s, certs, collectBegun)
	return func() string {
		if err := call.Send(&echov1.CollectRequest{Message: "late"}); err != nil {
			return err.Error()
		}
		resp, err := call.CloseAndRecv()
		return fault(resp.GetMessage(), "early\nlate", err)
	}
}

func collectByConnect(allow func(*http.Protocols)) func(*testing.T, *serve.Server, serve.Certs) func() string {
	return func(t *testing.T, s *serve.Server, certs serve.Certs) func() string {
		client := connect.NewClient[echov1.CollectRequest, echov1.CollectResponse](
			httpClient(t, certs, allow), "https://"+s.Addr+"/"+service+"/Collect", connect.WithGRPC())
		call := client.CallClientStream(t.Context())
		if err := call.Send(&echov1.CollectRequest{Message: "early"}); err != nil {
			t.Fatal(err)
		}
		awaitLine(t, s, certs, collectBegun)
		return func() string {
			if err := call.Send(&echov1.CollectRequest{Message: "late"}); err != nil {
				return err.Error()
			}
			resp, err := call.CloseAndReceive()
			if err != nil {
				return err.Error()
			}
			return fault(resp.Msg.GetMessage(), "early\nlate", nil)
		}
	}
}

// page asks for a CPU profile of two seconds. While it is taken, other profiles
// are refused, which shows that it has begun.
func page(allow func(*http.Protocols)) func(*testing.T, *serve.Server, serve.Certs) func() string {
	return func(t *testing.T, s *serve.Server, certs serve.Certs) func() string {
		faults := make(chan string, 1)
		go func() {
			for {
				code, err := get(httpClient(t, certs, allow), "https://"+s.Addr+"/internal/debug/cpu?seconds=2")
				if code == http.StatusServiceUnavailable {
					continue // the other profile came first
				}
				faults <- fault(http.StatusText(code), "OK", err)
				return
			}
		}()
		other := httpClient(t, certs, allow)
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			code, err := get(other, "https://"+s.Addr+"/internal/debug/heap")
			if err != nil {
				t.Fatal(err)
			}
			if code == http.StatusServiceUnavailable {
				return func() string { return <-faults }
			}
		}
		t.Fatal("no profile was begun")
		return nil
	}
}

// get reads a page to its end.
func get(client *http.Client, url string) (code int, err error) {
	resp, err := client.Get(url)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// fault says what is wrong with an answer.
func fault(got, want string, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case got != want:
		return strings.Join([]string{"got", got, "want", want}, " ")
	}
	return ""
}
