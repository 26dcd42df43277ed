package clients

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
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
		creds := insecure.NewCredentials()
		if e.certs != nil {
			creds = credentials.NewTLS(&tls.Config{RootCAs: e.certs.Pool})
		}
		conn, err := grpc.NewClient(e.addr, grpc.WithTransportCredentials(creds))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		got, err := converse(t.Context(), echov1.NewEchoServiceClient(conn))
		if err != nil {
			t.Fatal(err)
		}
		check(t, got)
	})
}

func converse(ctx context.Context, client echov1.EchoServiceClient) (c conversation, err error) {
	echo, err := client.Echo(ctx, &echov1.EchoRequest{Message: "hi"})
	if err != nil {
		return c, err
	}
	c.Echo = echo.GetMessage()

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
			args := slices.Concat(flags, []string{"-d", requests, e.addr, service + "/" + method})
			return messages(t, run(t, "", serve.Build(t, serve.Grpcurl), args...))
		}
		check(t, conversation{
			Echo:    strings.Join(call("Echo", `{"message":"hi"}`), "|"),
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
		if e.certs == nil {
			transport := &http.Transport{Protocols: new(http.Protocols)}
			transport.Protocols.SetUnencryptedHTTP2(true)
			connectConverse(t, e, transport)
			return
		}
		t.Run("h2 and http/1.1", func(t *testing.T) {
			connectConverse(t, e, &http.Transport{
				TLSClientConfig:   &tls.Config{RootCAs: e.certs.Pool},
				ForceAttemptHTTP2: true,
			})
		})
		t.Run("h2", func(t *testing.T) {
			transport := &http.Transport{
				TLSClientConfig: &tls.Config{RootCAs: e.certs.Pool},
				Protocols:       new(http.Protocols),
			}
			transport.Protocols.SetHTTP2(true)
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
	echo, err := connect.NewClient[echov1.EchoRequest, echov1.EchoResponse](client, url+"Echo", connect.WithGRPC()).
		CallUnary(ctx, connect.NewRequest(&echov1.EchoRequest{Message: "hi"}))
	if err != nil {
		return c, err
	}
	c.Echo = echo.Msg.GetMessage()

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
