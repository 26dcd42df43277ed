package clients

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/test/serve"
)

const service = "echo.v1.EchoService"

func TestGrpcGo(t *testing.T) {
	everywhere(t, func(t *testing.T, e endpoint) {
		got, err := converseByGRPC(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		check(t, got)
	})
}

// TestAtOnce has clients of all protocols on the port at the same time.
func TestAtOnce(t *testing.T) {
	everywhere(t, func(t *testing.T, e endpoint) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if got, err := converseByGRPC(t.Context(), e); err != nil || !reflect.DeepEqual(got, wanted) {
					t.Errorf("grpc-go: %.100v, %v", got, err)
				}
			})
			wg.Go(func() {
				transport := e.transport()
				defer transport.CloseIdleConnections()
				got, err := converseByConnect(t.Context(), &http.Client{Transport: transport}, e.url("/"+service+"/"))
				if err != nil || !reflect.DeepEqual(got, wanted) {
					t.Errorf("connect-go: %.100v, %v", got, err)
				}
			})
			wg.Go(func() {
				transport := e.transport()
				transport.Protocols.SetHTTP1(true)
				defer transport.CloseIdleConnections()
				resp, err := (&http.Client{Transport: transport}).Get(e.url("/internal/help"))
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK || len(body) == 0 {
					t.Errorf("net/http: %s, %d bytes, %v", resp.Status, len(body), err)
				}
			})
		}
		wg.Wait()
	})
}

// transport is one that speaks nothing but HTTP/2.
func (e endpoint) transport() *http.Transport {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	if e.certs == nil {
		transport.Protocols.SetUnencryptedHTTP2(true)
	} else {
		transport.Protocols.SetHTTP2(true)
		transport.TLSClientConfig = &tls.Config{RootCAs: e.certs.Pool}
	}
	return transport
}

func converseByGRPC(ctx context.Context, e endpoint) (c conversation, err error) {
	creds := insecure.NewCredentials()
	if e.certs != nil {
		creds = credentials.NewTLS(&tls.Config{RootCAs: e.certs.Pool})
	}
	conn, err := grpc.NewClient(e.addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		return c, err
	}
	defer conn.Close()
	return converse(ctx, echov1.NewEchoServiceClient(conn))
}

func converse(ctx context.Context, client echov1.EchoServiceClient) (c conversation, err error) {
	echo, err := client.Echo(ctx, &echov1.EchoRequest{Message: "hi"})
	if err != nil {
		return c, err
	}
	c.Echo = echo.GetMessage()

	if echo, err = client.Echo(ctx, &echov1.EchoRequest{Message: large}); err != nil {
		return c, err
	}
	c.Large = len(echo.GetMessage())

	repeat, err := client.Repeat(ctx, &echov1.RepeatRequest{Message: "hi", Count: 3})
	if err != nil {
		return c, err
	}
	if c.Repeat, err = drain(repeat.Recv); err != nil {
		return c, err
	}

	collect, err := client.Collect(ctx)
	if err != nil {
		return c, err
	}
	for _, m := range []string{"a", "b"} {
		if err := collect.Send(&echov1.CollectRequest{Message: m}); err != nil {
			return c, err
		}
	}
	collected, err := collect.CloseAndRecv()
	if err != nil {
		return c, err
	}
	c.Collect = collected.GetMessage()

	chat, err := client.Chat(ctx)
	if err != nil {
		return c, err
	}
	for _, m := range []string{"a", "b"} {
		if err := chat.Send(&echov1.ChatRequest{Message: m}); err != nil {
			return c, err
		}
	}
	if err := chat.CloseSend(); err != nil {
		return c, err
	}
	c.Chat, err = drain(chat.Recv)
	return c, err
}

// drain receives messages until the stream has ended well.
func drain[M interface{ GetMessage() string }](receive func() (M, error)) (messages []string, err error) {
	for {
		m, err := receive()
		if errors.Is(err, io.EOF) {
			return messages, nil
		}
		if err != nil {
			return messages, err
		}
		messages = append(messages, m.GetMessage())
	}
}

func TestGrpcurl(t *testing.T) {
	everywhere(t, func(t *testing.T, e endpoint) {
		flags := []string{"-plaintext"}
		if e.certs != nil {
			flags = []string{"-cacert", e.certs.CA}
		}
		call := func(method, requests string) []string {
			args := slices.Concat(flags, []string{"-d", "@", e.addr, service + "/" + method})
			return messages(t, runWith(t, strings.NewReader(requests), "", serve.Build(t, serve.Grpcurl), args...))
		}
		check(t, conversation{
			Echo:    strings.Join(call("Echo", `{"message":"hi"}`), "|"),
			Large:   len(strings.Join(call("Echo", `{"message":"`+large+`"}`), "|")),
			Repeat:  call("Repeat", `{"message":"hi","count":3}`),
			Collect: strings.Join(call("Collect", `{"message":"a"}{"message":"b"}`), "|"),
			Chat:    call("Chat", `{"message":"a"}{"message":"b"}`),
		})
	})
}

// messages reads a sequence of JSON objects with a message each.
func messages(t *testing.T, stream string) (messages []string) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(stream))
	for {
		var m struct{ Message string }
		err := decoder.Decode(&m)
		if errors.Is(err, io.EOF) {
			return messages
		}
		if err != nil {
			t.Fatalf("%v in %s", err, stream)
		}
		messages = append(messages, m.Message)
	}
}

// TestConnect speaks the gRPC protocol over net/http: with prior knowledge in
// plaintext, and over TLS both as a client that would take HTTP/1.1 too and as
// one that offers nothing but HTTP/2.
func TestConnect(t *testing.T) {
	everywhere(t, func(t *testing.T, e endpoint) {
		t.Run("h2", func(t *testing.T) {
			connectConverse(t, e, e.transport())
		})
		if e.certs == nil {
			return
		}
		t.Run("h2 and http/1.1", func(t *testing.T) {
			transport := e.transport()
			transport.Protocols.SetHTTP1(true)
			connectConverse(t, e, transport)
		})
	})
}

func connectConverse(t *testing.T, e endpoint, transport *http.Transport) {
	t.Helper()
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	got, err := converseByConnect(t.Context(), client, e.url("/"+service+"/"))
	if err != nil {
		t.Fatal(err)
	}
	check(t, got)
}

func converseByConnect(ctx context.Context, client *http.Client, url string) (c conversation, err error) {
	echoClient := connect.NewClient[echov1.EchoRequest, echov1.EchoResponse](client, url+"Echo", connect.WithGRPC())
	echo, err := echoClient.CallUnary(ctx, connect.NewRequest(&echov1.EchoRequest{Message: "hi"}))
	if err != nil {
		return c, err
	}
	c.Echo = echo.Msg.GetMessage()

	if echo, err = echoClient.CallUnary(ctx, connect.NewRequest(&echov1.EchoRequest{Message: large})); err != nil {
		return c, err
	}
	c.Large = len(echo.Msg.GetMessage())

	repeat, err := connect.NewClient[echov1.RepeatRequest, echov1.RepeatResponse](client, url+"Repeat", connect.WithGRPC()).
		CallServerStream(ctx, connect.NewRequest(&echov1.RepeatRequest{Message: "hi", Count: 3}))
	if err != nil {
		return c, err
	}
	for repeat.Receive() {
		c.Repeat = append(c.Repeat, repeat.Msg().GetMessage())
	}
	if err := errors.Join(repeat.Err(), repeat.Close()); err != nil {
		return c, err
	}

	collect := connect.NewClient[echov1.CollectRequest, echov1.CollectResponse](client, url+"Collect", connect.WithGRPC()).
		CallClientStream(ctx)
	for _, m := range []string{"a", "b"} {
		if err := collect.Send(&echov1.CollectRequest{Message: m}); err != nil {
			return c, err
		}
	}
	collected, err := collect.CloseAndReceive()
	if err != nil {
		return c, err
	}
	c.Collect = collected.Msg.GetMessage()

	chat := connect.NewClient[echov1.ChatRequest, echov1.ChatResponse](client, url+"Chat", connect.WithGRPC()).
		CallBidiStream(ctx)
	for _, m := range []string{"a", "b"} {
		if err := chat.Send(&echov1.ChatRequest{Message: m}); err != nil {
			return c, err
		}
	}
	if err := chat.CloseRequest(); err != nil {
		return c, err
	}
	if c.Chat, err = drain(chat.Receive); err != nil {
		return c, err
	}
	return c, chat.CloseResponse()
}
