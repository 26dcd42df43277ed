package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// kind is a kind of call. Its error is what must not be.
type kind struct {
	name  string
	parts int // of the sum of all
	call  func(c *client, ctx context.Context) error
}

// The end of a stream because its server drains is as documented; everything else
// has to be answered while servers are restarted.
var kinds = []kind{
	{"unary", 60, func(c *client, ctx context.Context) error { return echoes(ctx, c.good) }},
	{"server stream", 8, (*client).repeat},
	{"client stream", 8, (*client).collect},
	{"short chat", 8, (*client).shortChat},
	{"cancelled", 5, (*client).cancelled},
	{"bad token", 3, func(c *client, ctx context.Context) error { return refused(ctx, c.bad) }},
	{"no token", 3, func(c *client, ctx context.Context) error { return refused(ctx, c.none) }},
	{"HTTP", 3, func(c *client, ctx context.Context) error { return c.get(ctx, c.kept) }},
	{"HTTP, new connection", 1, func(c *client, ctx context.Context) error { return c.get(ctx, c.fresh) }},
	{"new client", 1, (*client).dialAnew},
}

const longChat, told = "long chat", "chat that a server ended"

// kindNames are all that has to happen.
func kindNames() []string {
	names := []string{longChat}
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// next makes the nth call.
func (c *client) next(ctx context.Context, n int) {
	k := kindOf(n)
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err := k.call(c, limited)
	if errors.Is(err, errDraining) {
		c.count(ctx, told, nil)
		return
	}
	c.count(ctx, k.name, err)
}

// kindOf mixes the kinds.
func kindOf(n int) kind {
	n = n * 37 % 100 // 37 and 100 have no factor in common: each comes once
	for _, k := range kinds {
		if n -= k.parts; n < 0 {
			return k
		}
	}
	return kinds[0]
}

func echoes(ctx context.Context, client echov1.EchoServiceClient) error {
	message := fmt.Sprint("message ", rand.IntN(2_000))
	resp, err := client.Echo(ctx, &echov1.EchoRequest{Message: message})
	return same(resp.GetMessage(), message, err)
}

func same(got, want string, err error) error {
	if err == nil && got != want {
		return errors.New("another answer")
	}
	return err
}

func (c *client) repeat(ctx context.Context) error {
	stream, err := c.good.Repeat(ctx, &echov1.RepeatRequest{Message: "again", Count: 50})
	for n := 0; err == nil; n++ {
		if _, err = stream.Recv(); errors.Is(err, io.EOF) && n == 50 {
			return nil
		}
	}
	return err
}

func (c *client) collect(ctx context.Context) error {
	stream, err := c.good.Collect(ctx)
	if err != nil {
		return err
	}
	for _, message := range []string{"a", "b", "c"} {
		if err := stream.Send(&echov1.CollectRequest{Message: message}); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	resp, err := stream.CloseAndRecv()
	return same(resp.GetMessage(), "a\nb\nc", err)
}

func (c *client) shortChat(ctx context.Context) error {
	stream, err := c.good.Chat(ctx)
	if err != nil {
		return asTold(err)
	}
	for range 5 {
		if err := say(stream); err != nil {
			return err
		}
	}
	return hangUp(stream)
}

// longestChat is how long a long chat lasts at most.
const longestChat = 30 * time.Second

// chats until the context ends, every other time for a shorter while: by then no
// server has ended the chat.
func (c *client) chats(ctx context.Context, shorter time.Duration) {
	for n := 0; ctx.Err() == nil; n++ {
		most := [...]time.Duration{longestChat, shorter}[n%2]
		err := c.chat(ctx, rand.N(most))
		kind := longChat
		if errors.Is(err, errDraining) {
			kind, err = told, nil
		}
		c.count(ctx, kind, err)
		if err != nil {
			pause(ctx, time.Second)
		}
	}
}

func (c *client) chat(ctx context.Context, life time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.good.Chat(ctx)
	if err != nil {
		return asTold(err)
	}
	for end := time.Now().Add(life); time.Now().Before(end) && ctx.Err() == nil; pause(ctx, 500*time.Millisecond) {
		if err := say(stream); err != nil {
			return err
		}
	}
	return hangUp(stream)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

type chat = grpc.BidiStreamingClient[echov1.ChatRequest, echov1.ChatResponse]

func say(stream chat) error {
	if err := stream.Send(&echov1.ChatRequest{Message: "hi"}); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	resp, err := stream.Recv()
	return same(resp.GetMessage(), "hi", asTold(err))
}

func hangUp(stream chat) error {
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		return asTold(err)
	}
	return nil
}

// asTold is errDraining where a server says that, and nothing else.
func asTold(err error) error {
	if err != nil && status.Code(err) == codes.Unavailable && status.Convert(err).Message() == status.Convert(errDraining).Message() {
		return errDraining
	}
	return err
}

// cancelled opens a stream and leaves it.
func (c *client) cancelled(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.good.Chat(ctx)
	if err == nil {
		err = say(stream)
	}
	if err != nil {
		return asTold(err)
	}
	cancel()
	if _, err := stream.Recv(); status.Code(err) != codes.Canceled {
		return asTold(err)
	}
	return nil
}

func refused(ctx context.Context, client echov1.EchoServiceClient) error {
	err := echoes(ctx, client)
	switch status.Code(err) {
	case codes.Unauthenticated:
		return nil
	case codes.OK:
		return errors.New("it is not refused")
	}
	return err
}

// dialAnew calls with a connection of its own.
func (c *client) dialAnew(ctx context.Context) error {
	token := c.mint.token("visitor", time.Minute)
	source := func(context.Context) (string, error) { return token, nil }
	client, conn, err := echov1.DialEchoService(easyops.DialUserToken(source))
	if err != nil {
		return err
	}
	return errors.Join(echoes(ctx, client), conn.Close())
}

// webClients return one with kept connections and HTTP/2, and one that connects
// for each request.
func webClients(dir string) (kept, fresh *http.Client, err error) {
	pool, err := authorities(dir)
	if err != nil {
		return nil, nil, err
	}
	client := func(fresh bool) *http.Client {
		secure := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}
		return &http.Client{
			Timeout:   30 * time.Second,
			Transport: &http.Transport{TLSClientConfig: secure, ForceAttemptHTTP2: !fresh, DisableKeepAlives: fresh},
		}
	}
	return client(false), client(true), nil
}

func (c *client) get(ctx context.Context, client *http.Client) error {
	return request(ctx, client, c.mint.token("reader", time.Minute), http.MethodPost, c.web, "hello ", func(body io.Reader) error {
		text, err := io.ReadAll(body)
		if err == nil && !strings.HasPrefix(string(text), "hello ") {
			err = errors.New("another answer")
		}
		return err
	})
}

// request reads the answer of 200, whatever else is an error.
func request(ctx context.Context, client *http.Client, token, method, url, body string, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
		return fmt.Errorf("%s: %s", resp.Status, text)
	}
	return read(resp.Body)
}

// reasonOf is an error without what differs each time.
func reasonOf(err error) string {
	fields := strings.Fields(err.Error())
	for i, f := range fields {
		if strings.Contains(f, "127.0.0.1:") {
			fields[i] = "ADDR"
		}
	}
	text := strings.Join(fields, " ")
	return text[:min(len(text), 300)]
}
