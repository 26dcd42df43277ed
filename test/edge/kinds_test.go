package edge

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
)

// every is how often the open loop begins something.
const every = 20 * time.Millisecond

// target is the page that takes a moment, so that there is always some request in
// flight.
const target = "/a/page?wait=15ms"

// heard is what the page says that it heard.
type heard struct {
	Who, Method, Host, URI, Proto string
	Header                        http.Header
	Body                          int
}

// httpKinds are requests to the page: by GET and POST, on connections that stay
// and on new ones, over HTTP/1.1 and HTTP/2, and over TLS where there is a
// configuration for it.
func httpKinds(t *testing.T, addr string, secure *tls.Config) []kind {
	t.Helper()
	kept, fresh, h2 := transport(t), transport(t), transport(t)
	fresh.DisableKeepAlives = true
	h2.Protocols.SetHTTP1(false)
	url := "http://" + addr + target
	if secure == nil {
		h2.Protocols.SetUnencryptedHTTP2(true)
	} else {
		url = "https://" + addr + target
		h2.Protocols.SetHTTP2(true)
		for _, tr := range []*http.Transport{kept, fresh, h2} {
			tr.TLSClientConfig = secure.Clone()
		}
	}
	get := func(tr *http.Transport) func(context.Context) error { return ask(tr, url, http.MethodGet) }
	post := func(tr *http.Transport) func(context.Context) error { return ask(tr, url, http.MethodPost) }
	return []kind{
		{"GET", 4, every, get(kept)},
		{"POST", 20, every, post(kept)},
		{"GET, new", 2, 0, get(fresh)},
		{"POST, new", 2, every, post(fresh)},
		{"GET, HTTP/2", 2, 0, get(h2)},
		{"POST, HTTP/2", 2, every, post(h2)},
	}
}

func transport(t *testing.T) *http.Transport {
	t.Helper()
	tr := &http.Transport{Protocols: new(http.Protocols), MaxIdleConnsPerHost: 64}
	tr.Protocols.SetHTTP1(true)
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// ask asks for the page, and wants it to have heard what was sent.
func ask(tr *http.Transport, url, method string) func(context.Context) error {
	client := &http.Client{Transport: tr}
	return func(ctx context.Context) error {
		body := ""
		if method == http.MethodPost {
			body = strings.Repeat("x", 1000)
		}
		req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		var h heard
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %.200s", resp.Status, text)
		}
		if err := json.Unmarshal(text, &h); err != nil {
			return err
		}
		if h.Method != method || h.Body != len(body) || h.URI != target {
			return fmt.Errorf("the page heard %+v", h)
		}
		return nil
	}
}

// grpcKinds are unary calls: Echo, which is over at once, and Collect, which is
// open for a while. The client does not call again by itself.
func grpcKinds(client echov1.EchoServiceClient) []kind {
	return []kind{
		{"Echo", 4, every, func(ctx context.Context) error {
			resp, err := client.Echo(ctx, &echov1.EchoRequest{Message: "hi"})
			if err == nil && resp.GetMessage() != "hi" {
				err = fmt.Errorf("answer %q", resp.GetMessage())
			}
			return err
		}},
		{"Collect", 4, 0, func(ctx context.Context) error { return collect(ctx, client) }},
	}
}

func collect(ctx context.Context, client echov1.EchoServiceClient) error {
	stream, err := client.Collect(ctx)
	if err != nil {
		return err
	}
	for _, m := range []string{"a", "b"} {
		if stream.Send(&echov1.CollectRequest{Message: m}) != nil {
			break // CloseAndRecv has the reason
		}
		time.Sleep(2 * pause)
	}
	resp, err := stream.CloseAndRecv()
	if err == nil && resp.GetMessage() != "a\nb" {
		err = fmt.Errorf("answer %q", resp.GetMessage())
	}
	return err
}

// tcpKinds are new connections to the TCP service.
func tcpKinds(addr string) []kind {
	return []kind{{"connection", 3, every, exchange(addr)}}
}

func dialEcho(t *testing.T, addr string, secure *tls.Config) echov1.EchoServiceClient {
	t.Helper()
	creds := insecure.NewCredentials()
	if secure != nil {
		creds = credentials.NewTLS(secure.Clone())
	}
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds), grpc.WithDisableRetry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return echov1.NewEchoServiceClient(conn)
}
