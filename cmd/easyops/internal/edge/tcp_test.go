package edge

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
)

const route = "tcp: [{listen: \"127.0.0.1:0\", service: lines}]\n"

// theRoute is the only TCP route of an edge.
func theRoute(e *Edge) net.Addr { return e.TCPAddr("127.0.0.1:0") }

// TestBothWays: bytes arrive as they were sent, in both directions at the same time, and
// the end of each of them on its own.
func TestBothWays(t *testing.T) {
	p := newPlace(t)
	there, back := make([]byte, 8<<20), make([]byte, 8<<20)
	_, _ = rand.Read(there)
	_, _ = rand.Read(back)
	p.serve("lines", func(c *net.TCPConn) {
		sent := make(chan error, 1)
		go func() {
			_, err := c.Write(back)
			sent <- err
		}()
		sum := sha256.New()
		_, err := io.Copy(sum, c) // until the client's end
		if err := errors.Join(err, <-sent); err != nil {
			t.Error(err)
		}
		_, _ = c.Write(sum.Sum(nil)) // the other direction goes on
	})
	c := dial(t, theRoute(p.start(p.config(route))))
	received := make(chan []byte, 1)
	go func() {
		all, err := io.ReadAll(c)
		if err != nil {
			t.Error(err)
		}
		received <- all
	}()
	if _, err := c.Write(there); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(there)
	if got := <-received; !bytes.Equal(got, append(back, sum[:]...)) {
		t.Errorf("%d bytes came back, not the right ones", len(got))
	}
}

// TestCutIsNoEnd: what is cut off on one side is so on the other, and does not look
// like an end.
func TestCutIsNoEnd(t *testing.T) {
	p := newPlace(t)
	ends := make(chan error, 1)
	p.serve("lines", func(c *net.TCPConn) {
		_, err := io.Copy(io.Discard, c)
		ends <- err
	})
	addr := theRoute(p.start(p.config(route)))
	for name, test := range map[string]struct {
		end  func(c *net.TCPConn)
		want error
	}{
		"end": {func(c *net.TCPConn) { c.Close() }, nil},
		"cut": {func(c *net.TCPConn) { reset(c) }, syscall.ECONNRESET},
	} {
		c := dial(t, addr)
		if _, err := c.Write([]byte("half")); err != nil {
			t.Fatal(err)
		}
		test.end(c)
		if err := <-ends; !errors.Is(err, test.want) {
			t.Errorf("%s: the instance sees %v, want %v", name, err, test.want)
		}
	}
}

// TestInstanceCuts is the other side of it.
func TestInstanceCuts(t *testing.T) {
	p := newPlace(t)
	p.serve("lines", func(c *net.TCPConn) {
		line, _ := bufio.NewReader(c).ReadString('\n')
		if line == "cut\n" {
			reset(c)
		}
	})
	addr := theRoute(p.start(p.config(route)))
	for line, want := range map[string]error{"end": nil, "cut": syscall.ECONNRESET} {
		c := dial(t, addr)
		fmt.Fprintln(c, line)
		if _, err := io.ReadAll(c); !errors.Is(err, want) {
			t.Errorf("%s: the client sees %v, want %v", line, err, want)
		}
	}
}

// TestLastWords: an instance that answers and goes, while the client still sends, is
// heard.
func TestLastWords(t *testing.T) {
	p := newPlace(t)
	const answer = "too long, and that is all I have to say\n"
	p.serve("lines", func(c *net.TCPConn) {
		_, _ = io.ReadFull(c, make([]byte, 1000))
		_, _ = io.WriteString(c, answer)
		_ = c.CloseWrite()
		_ = c.CloseRead()
	})
	c := dial(t, theRoute(p.start(p.config(route))))
	go func() {
		for range 1000 {
			if _, err := c.Write(make([]byte, 1000)); err != nil {
				return
			}
		}
	}()
	if got, err := io.ReadAll(c); string(got) != answer {
		t.Errorf("%q, %v", got, err)
	}
}

// TestProxyHeader: an instance that wants it is told the client's address.
func TestProxyHeader(t *testing.T) {
	for version := range 3 {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) {
			p := newPlace(t)
			p.serve("lines", func(c *net.TCPConn) {
				r := bufio.NewReader(c)
				peer := "nobody"
				if header, err := proxyproto.Read(r); err == nil {
					peer = fmt.Sprint(header.Version, " ", header.SourceAddr, " ", header.DestinationAddr)
				}
				line, _ := r.ReadString('\n')
				fmt.Fprintf(c, "%s %s", peer, line)
			})
			text := route
			if version > 0 {
				text = fmt.Sprintf("tcp: [{listen: \"127.0.0.1:0\", service: lines, proxy_protocol: v%d}]\n", version)
			}
			c := dial(t, theRoute(p.start(p.config(text))))
			want := "nobody hello"
			if version > 0 {
				want = fmt.Sprintf("%d %v %v hello", version, c.LocalAddr(), c.RemoteAddr())
			}
			if got := say(t, c, "hello"); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

// TestClientOfProxy: the address that a proxy in front names is passed on, and what one
// that is not trusted sends is passed on as bytes.
func TestClientOfProxy(t *testing.T) {
	const header = "PROXY TCP4 192.0.2.7 192.0.2.1 4711 5432\r\n"
	for from, want := range map[string]string{"127.0.0.0/8": "192.0.2.7:4711", "10.0.0.0/8": "127.0.0.1:"} {
		p := newPlace(t)
		p.serve("lines", func(c *net.TCPConn) {
			r := bufio.NewReader(c)
			h, err := proxyproto.Read(r)
			if err != nil {
				t.Error(err)
				return
			}
			line, _ := r.ReadString('\n')
			fmt.Fprintf(c, "%v %s", h.SourceAddr, line)
		})
		text := fmt.Sprintf("tcp: [{listen: \"127.0.0.1:0\", service: lines, proxy_protocol: v2, accept_proxy_protocol_from: [%s]}]\n", from)
		c := dial(t, theRoute(p.start(p.config(text))))
		got := say(t, c, header+"hello")
		if !strings.HasPrefix(got, want) {
			t.Errorf("from %s: %q, want %q", from, got, want)
		}
		if trusted := from == "127.0.0.0/8"; strings.Contains(got, "PROXY") == trusted {
			t.Errorf("from %s: %q", from, got)
		}
	}
}

// TestNobodyServes: connections are closed in time, and the log says it once.
func TestNobodyServes(t *testing.T) {
	p := newPlace(t)
	addr := theRoute(p.start(p.config("tcp: [{listen: \"127.0.0.1:0\", service: lines, connect_timeout: 300ms}]\n")))
	for range 3 {
		begun := time.Now()
		c := dial(t, addr)
		if _, err := io.ReadAll(c); err != nil {
			t.Log(err)
		}
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("closed after %v", took)
		}
	}
	if n := strings.Count(p.log.text(), "no instance can be had"); n != 1 {
		t.Errorf("%d lines", n)
	}
	p.serve("lines", named("a"))
	await(t, "an answer", func() bool {
		c := dial(t, addr)
		fmt.Fprintln(c, "hello")
		n, _ := c.Read(make([]byte, 10))
		return n > 0
	})
}

// TestTCPDrains: an edge that stops lets connections end, and takes no more.
func TestTCPDrains(t *testing.T) {
	p := newPlace(t)
	p.serve("lines", named("a"))
	e := p.start(p.config(route))
	addr := theRoute(e)
	c := dial(t, addr)
	say(t, c, "before")
	ended := make(chan error, 1)
	go func() { ended <- e.Shutdown(context.Background()) }()
	await(t, "a port that refuses", func() bool {
		c, err := net.Dial("tcp", addr.String())
		if err == nil {
			c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	if got := say(t, c, "while it drains"); got != "a while it drains" {
		t.Error(got)
	}
	c.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestTCPIsCut: what does not end in time is cut, and named.
func TestTCPIsCut(t *testing.T) {
	p := newPlace(t)
	p.serve("lines", named("a"))
	e := p.start(p.config(route, "-easyops.shutdown-timeout=1s"))
	c := dial(t, theRoute(e))
	say(t, c, "before")
	err := e.Shutdown(context.Background())
	if err == nil || !strings.Contains(err.Error(), c.LocalAddr().String()) {
		t.Errorf("%v does not name %v", err, c.LocalAddr())
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client sees %v", err)
	}
}

// BenchmarkTCP is how fast bytes go to an instance and come back at the same time,
// directly and through an edge.
func BenchmarkTCP(b *testing.B) {
	for _, through := range []bool{false, true} {
		b.Run(map[bool]string{false: "direct", true: "edge"}[through], func(b *testing.B) {
			p := newPlace(b)
			block, read := make([]byte, 1<<20), make([]byte, 1<<20)
			addr := p.serve("lines", func(c *net.TCPConn) {
				go func() {
					for {
						if _, err := c.Write(block); err != nil {
							return
						}
					}
				}()
				_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 1<<20))
			})
			to, err := net.ResolveTCPAddr("tcp", addr)
			if err != nil {
				b.Fatal(err)
			}
			target := net.Addr(to)
			if through {
				target = theRoute(p.start(p.config(route)))
			}
			c := dial(b, target)
			_ = c.SetDeadline(time.Time{})
			b.SetBytes(2 << 20)
			sent := make(chan error, 1)
			go func() {
				for range b.N {
					if _, err := c.Write(block); err != nil {
						sent <- err
						return
					}
				}
				sent <- nil
			}()
			b.ResetTimer()
			for range b.N {
				if _, err := io.ReadFull(c, read); err != nil {
					b.Fatal(err)
				}
			}
			if err := <-sent; err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			c.Close()
		})
	}
}
