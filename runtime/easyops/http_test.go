package easyops_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// reflectServices lists the services as grpcurl does.
func reflectServices(t *testing.T, conn grpc.ClientConnInterface) (names []string, err error) {
	t.Helper()
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		return nil, err
	}
	// What Send returns is only EOF; Recv has the reason.
	_ = stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
	resp, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	for _, s := range resp.GetListServicesResponse().GetService() {
		names = append(names, s.GetName())
	}
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the end of reflection: %v", err)
	}
	return names, nil
}

// TestPatterns: what cannot be served by HTTP is said at the start.
func TestPatterns(t *testing.T) {
	h := text("x")
	for _, test := range []struct {
		name string
		opts []easyops.ServerOption
		want []string
	}{
		{"internal", []easyops.ServerOption{easyops.WithHTTP("/internal/mine", h)}, []string{`"/internal/mine"`, "status pages"}},
		{"internal itself", []easyops.ServerOption{easyops.WithHTTP("/internal/", h)}, []string{`"/internal/"`}},
		{"metrics", []easyops.ServerOption{easyops.WithHTTP("GET /metrics", h)}, []string{`"GET /metrics"`, "status pages"}},
		{"livez", []easyops.ServerOption{easyops.WithHTTP("example.com/livez", h)}, []string{"example.com/livez"}},
		{"readyz", []easyops.ServerOption{easyops.WithHTTP("/readyz", h)}, []string{"/readyz"}},
		{"nil", []easyops.ServerOption{easyops.WithHTTP("/x", nil)}, []string{`"/x"`, "nil"}},
		{"malformed", []easyops.ServerOption{easyops.WithHTTP("/{x", h)}, []string{`"/{x"`}},
		{"empty", []easyops.ServerOption{easyops.WithHTTP("", h)}, []string{`WithHTTP("")`}},
		{"duplicate", []easyops.ServerOption{easyops.WithHTTP("/x", h), easyops.WithHTTP("/x", h)}, []string{`WithHTTP("/x")`, "conflicts"}},
		{"two rules", []easyops.ServerOption{easyops.WithHTTP("/x", h, auth.Access{}, auth.Access{})}, []string{"2 access rules"}},
		{"all at once", []easyops.ServerOption{easyops.WithHTTP("/livez", h), easyops.WithHTTP("/a", nil)}, []string{"/livez", "/a"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			mustContain(t, startFault(t, echoService(), test.opts...).Error(), test.want...)
		})
	}
}

// TestHandlers: patterns of ServeMux, beside the pages and gRPC on one port.
func TestHandlers(t *testing.T) {
	named := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "item "+r.PathValue("id")) })
	s := startEcho(t,
		easyops.WithHTTP("/", text("root")),
		easyops.WithHTTP("GET /items/by-id/{id}", named),
		easyops.WithHTTP("/internals", text("mine")),
		easyops.WithHTTP("/{any}/readyz", text("caught")),
	)
	url := local(s.Server)
	for _, test := range []struct {
		path, want string
		code       int
	}{
		{"/", "root", 200},
		{"/elsewhere", "root", 200},
		{"/items/by-id/7", "item 7", 200},
		{"/internals", "mine", 200},
		{"/x/readyz", "caught", 200},
		{"/internal/health", "READY", 200},
		{"/livez", "ok", 200},
		{"/internal/none", "/internal/help", 404},
		{"/internal/%2e%2e/internal/help", "/internal/help", 404},
	} {
		code, body := get(t, url+test.path)
		if code != test.code || !strings.Contains(body, test.want) {
			t.Errorf("%s: %d %q", test.path, code, body)
		}
	}
	say(t, dialEcho(t, s.Client()), "gRPC")
}

// TestHandlersOnly: a server may have HTTP handlers and no service at all.
func TestHandlersOnly(t *testing.T) {
	var l logs
	s := startOff(t, &l, nil, easyops.WithAddr(""), easyops.WithHTTP("/x", text("x")))
	if code, body := get(t, local(s)+"/x"); code != 200 || body != "x" {
		t.Errorf("%d %q", code, body)
	}
	if code, _ := get(t, local(s)+"/readyz"); code != 200 {
		t.Errorf("readyz: %d", code)
	}
}

// TestHandlerPanics: the answer has an ID that the log has too, and nothing
// else of the panic; the process lives and counts it.
func TestHandlerPanics(t *testing.T) {
	var l logs
	s := startEcho(t, easyops.WithLogger(l.logger()),
		easyops.WithHTTP("/panic", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("the secret") })),
		easyops.WithHTTP("/late", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			panic("too late")
		})),
		easyops.WithHTTP("/abort", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })),
	)
	url := local(s.Server)
	code, body := get(t, url+"/panic")
	if code != http.StatusInternalServerError || strings.Contains(body, "secret") {
		t.Errorf("%d %q", code, body)
	}
	lines := l.with(t, "panic")
	if len(lines) != 1 || lines[0]["in"] != "HTTP /panic" || lines[0]["err"] != "the secret" {
		t.Fatalf("logged %v", lines)
	}
	mustContain(t, body, lines[0]["id"].(string))
	mustContain(t, lines[0]["stack"].(string), "TestHandlerPanics")
	for _, path := range []string{"/late", "/abort"} { // nobody may take half an answer for a whole one
		if resp, err := http.Get(url + path); err == nil {
			resp.Body.Close()
			t.Errorf("%s was answered: %s", path, resp.Status)
		}
	}
	_, metrics := get(t, url+"/metrics")
	mustContain(t, metrics, `easyops_panics_total{where="http"} 2`)
}

// TestGRPCLooksLikeGRPC: a handler for everything does not get gRPC's calls,
// in whatever way they come.
func TestGRPCLooksLikeGRPC(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(t, echoName)
	root := easyops.WithHTTP("/", text("root"))
	var cleartext http.Protocols
	cleartext.SetUnencryptedHTTP2(true)
	for _, test := range []struct {
		name, scheme string
		client       *http.Transport
		server       []easyops.ServerOption
	}{
		{"cleartext", "http://", &http.Transport{Protocols: &cleartext}, nil},
		{"cleartext, all by net/http", "http://", &http.Transport{Protocols: &cleartext}, []easyops.ServerOption{easyops.WithMixedHTTP2()}},
		{"TLS", "https://", &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: ca.client()}, []easyops.ServerOption{easyops.WithTLSFiles(cert, key, "")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := startEcho(t, append(test.server, root)...)
			client := &http.Client{Transport: test.client}
			for contentType, want := range map[string]string{"application/grpc": "application/grpc", "text/plain": "text/plain; charset=utf-8"} {
				resp, err := client.Post(test.scheme+s.Addr().String()+"/echo.v1.EchoService/Echo", contentType, strings.NewReader("\x00\x00\x00\x00\x00"))
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if got := resp.Header.Get("Content-Type"); err != nil || got != want || resp.ProtoMajor != 2 {
					t.Errorf("%s was answered by %s %s %q, %v", contentType, resp.Proto, got, body, err)
				}
				client.CloseIdleConnections() // a connection belongs to one protocol for life
			}
		})
	}
}

// TestCallsThatAreNone: what goes to a method and is no gRPC is told so, unless
// the user has a handler for it.
func TestCallsThatAreNone(t *testing.T) {
	const call = "/echo.v1.EchoService/Echo"
	var cleartext http.Protocols
	cleartext.SetUnencryptedHTTP2(true)
	h2 := &http.Transport{Protocols: &cleartext}
	h1 := &http.Transport{}
	defer h2.CloseIdleConnections()
	defer h1.CloseIdleConnections()
	bare, mine := startEcho(t), startEcho(t, easyops.WithHTTP("POST "+call, text("mine")))
	for _, test := range []struct {
		name, method, path, contentType string
		client                          *http.Transport
		server                          *easyops.Server
		want                            int
	}{
		{"content-type", "POST", call, "text/plain", h2, bare.Server, 415},
		{"no content-type", "POST", call, "", h2, bare.Server, 415},
		{"content-type, HTTP/1", "POST", call, "application/json", h1, bare.Server, 415},
		{"gRPC-Web", "POST", call, "application/grpc-web", h1, bare.Server, 415},
		{"HTTP/1", "POST", call, "application/grpc", h1, bare.Server, 505},
		{"GET", "GET", call, "", h1, bare.Server, 405},
		{"the runtime's own", "POST", "/grpc.health.v1.Health/Check", "text/plain", h2, bare.Server, 415},
		{"not a method", "POST", "/echo.v1.EchoService/None", "text/plain", h2, bare.Server, 404},
		{"with a query", "POST", call + "?x", "text/plain", h2, bare.Server, 404},
		{"the user's", "POST", call, "text/plain", h2, mine.Server, 200},
		{"not the user's", "PUT", call, "text/plain", h2, mine.Server, 405},
	} {
		req, err := http.NewRequestWithContext(t.Context(), test.method, local(test.server)+test.path, strings.NewReader("\x00\x00\x00\x00\x00"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", test.contentType)
		resp, err := test.client.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != test.want {
			t.Errorf("%s: %s, want %d", test.name, resp.Status, test.want)
		}
	}
}

// TestSmuggling: what comes behind a request that two servers may take for
// requests of different length is not answered.
func TestSmuggling(t *testing.T) {
	const (
		host  = "Host: localhost\r\n"
		next  = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
		empty = "0\r\n\r\n"
	)
	paged, plain := startEcho(t, easyops.WithHTTP("/", text("root"), auth.Access{Allow: auth.Everyone}), easyops.WithStatusAddr("127.0.0.1:0")), startEcho(t)
	for _, test := range []struct {
		name, sent string
		answers    int
	}{
		{"control: two requests", next + next, 2},
		{"control: with a body", "POST / HTTP/1.1\r\n" + host + "Content-Length: 5\r\n\r\n" + empty + next, 2},
		{"both", "POST / HTTP/1.1\r\n" + host + "Content-Length: 64\r\nTransfer-Encoding: chunked\r\n\r\n" + empty + next, 1},
		{"both, the other way round", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + empty + next, 1},
		{"both, to a method", "POST /echo.v1.EchoService/Echo HTTP/1.1\r\n" + host + "Content-Length: 64\r\nTransfer-Encoding: chunked\r\n\r\n" + empty + next, 1},
		{"both, to a page", "POST /livez HTTP/1.1\r\n" + host + "Content-Length: 64\r\nTransfer-Encoding: chunked\r\n\r\n" + empty + next, 1},
		{"both, to the server", "OPTIONS * HTTP/1.1\r\n" + host + "Content-Length: 64\r\nTransfer-Encoding: chunked\r\n\r\n" + empty + next, 1},
		{"both, behind another", next + "POST / HTTP/1.1\r\n" + host + "Content-Length: 64\r\nTransfer-Encoding: chunked\r\n\r\n" + empty + next, 2},
		{"both, of HTTP/1.0", "POST / HTTP/1.0\r\nConnection: keep-alive\r\n" + host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + empty + next, 1},
	} {
		for where, s := range map[string]*easyops.Server{"with a handler": paged.Server, "without": plain.Server} {
			if got := answers(t, strings.TrimPrefix(local(s), "http://"), test.sent); got != test.answers {
				t.Errorf("%s, %s: %d answers, want %d", test.name, where, got, test.answers)
			}
		}
	}
	alone := httptest.NewServer(text("x"))
	defer alone.Close()
	both := "POST / HTTP/1.1\r\n" + host + "Content-Length: 64\r\nTransfer-Encoding: chunked\r\n\r\n" + empty + next
	if got := answers(t, strings.TrimPrefix(alone.URL, "http://"), both); got != 2 {
		t.Errorf("control: net/http alone answers %d times, want 2", got)
	}
}

// answers counts the answers to what is sent on one connection.
func answers(t *testing.T, addr, sent string) int {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, sent); err != nil {
		t.Fatal(err)
	}
	_ = c.(*net.TCPConn).CloseWrite()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), "HTTP/1.1 ") + strings.Count(string(b), "HTTP/1.0 ")
}
