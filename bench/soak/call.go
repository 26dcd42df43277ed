package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"sync"
	"time"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
)

const (
	callers = 64 // at most so many calls are in flight
	chats   = 10 // long streams, besides
)

// heard is what the client says when it is asked.
type heard struct {
	Goroutines int
	Calls      counts // that ended as they should, by kind
	Failures   counts // by kind and reason
	Late       int    // calls that were due when all callers were busy
}

// client calls until it is told to end.
type client struct {
	good, bad, none echov1.EchoServiceClient // with a token, with a bad one, and without
	mint            *mint
	web             string // where /hello is
	kept, fresh     *http.Client

	mu    sync.Mutex
	heard heard
}

// call is the client. It answers each line of its input with what it has heard so
// far, and ends with its input.
func call(args []string) error {
	dir := flag.String("dir", "", "where the keys are")
	rate := flag.Int("rate", 500, "calls a second")
	chat := flag.Duration("chat", longestChat, "how long every other long chat lasts at most")
	web := flag.String("web", "", "the URL of a page to ask for")
	if err := flag.CommandLine.Parse(args); err != nil {
		return err
	}
	c, done, err := newClient(*dir, *web)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { c.run(ctx, *rate, *chat) })
	err = c.answer(os.Stdin, os.Stdout)
	cancel()
	group.Wait()
	return errors.Join(err, done())
}

func newClient(dir, web string) (_ *client, done func() error, err error) {
	c := &client{web: web, heard: heard{Calls: counts{}, Failures: counts{}}}
	if c.mint, err = newMint(dir); err != nil {
		return nil, nil, err
	}
	if c.kept, c.fresh, err = webClients(dir); err != nil {
		return nil, nil, err
	}
	wallet := &wallet{mint: c.mint}
	forged := func(context.Context) (string, error) {
		token := c.mint.token("nobody", time.Minute)
		return token[:len(token)-8] + "AAAAAAAA", nil
	}
	var conns []*easyops.Conn
	done = func() (err error) {
		for _, conn := range conns {
			err = errors.Join(err, conn.Close())
		}
		return err
	}
	for _, dial := range []struct {
		client *echov1.EchoServiceClient
		opts   []easyops.DialOption
	}{
		{&c.good, []easyops.DialOption{easyops.DialUserToken(wallet.token)}},
		{&c.bad, []easyops.DialOption{easyops.DialUserToken(forged)}},
		{&c.none, nil},
	} {
		client, conn, err := echov1.DialEchoService(dial.opts...)
		if err != nil {
			return nil, nil, errors.Join(err, done())
		}
		*dial.client, conns = client, append(conns, conn)
	}
	return c, done, nil
}

// wallet has the tokens of several users, which are new now and then.
type wallet struct {
	mint   *mint
	mu     sync.Mutex
	calls  int
	tokens [20]struct {
		text string
		made time.Time
	}
}

// token returns that of the next user.
func (w *wallet) token(context.Context) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
	user := w.calls % len(w.tokens)
	t := &w.tokens[user]
	if time.Since(t.made) > 20*time.Second {
		t.text, t.made = w.mint.token(fmt.Sprintf("user-%d", user), 10*time.Minute), time.Now()
	}
	return t.text, nil
}

// run calls so many times a second, and chats, until the context ends.
func (c *client) run(ctx context.Context, rate int, shorter time.Duration) {
	due := make(chan int)
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for n := range due {
				c.next(ctx, n)
			}
		})
	}
	for range chats {
		group.Go(func() { c.chats(ctx, shorter) })
	}
	c.pace(ctx, rate, due)
	close(due)
	group.Wait()
}

// pace says when calls are due. Those that no caller is free for are left out.
func (c *client) pace(ctx context.Context, rate int, due chan<- int) {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	begin := time.Now()
	for made := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for ; made < int(time.Since(begin).Seconds()*float64(rate)); made++ {
			select {
			case due <- made:
			default:
				c.mu.Lock()
				c.heard.Late++
				c.mu.Unlock()
			}
		}
	}
}

// count notes how a call ended. What ends because the client does is not counted.
func (c *client) count(ctx context.Context, kind string, err error) {
	if ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.heard.Calls.add(kind)
	} else {
		c.heard.Failures.add(kind + ": " + reasonOf(err))
	}
}

// answer says what was heard, for each line.
func (c *client) answer(in io.Reader, out io.Writer) error {
	requests, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var request json.RawMessage
		if err := requests.Decode(&request); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		c.mu.Lock()
		c.heard.Goroutines = runtime.NumGoroutine()
		err := answers.Encode(c.heard)
		c.mu.Unlock()
		if err != nil {
			return err
		}
	}
}
