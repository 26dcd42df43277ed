package tcp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// noise is so many random bytes, the same for the same seed.
func noise(seed byte, size int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{seed}), size)
}

func sum(t *testing.T, r io.Reader) (crc uint32, size int64) {
	t.Helper()
	h := crc32.NewIEEE()
	size, err := io.Copy(h, r)
	if err != nil {
		t.Error(err)
	}
	return h.Sum32(), size
}

// relay copies between the connection and another, as proxies do.
func relay(t *testing.T, nc net.Conn, to string) {
	out, err := net.Dial("tcp", to)
	if err != nil {
		t.Error(err)
		return
	}
	defer out.Close()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(nc, out)
		_ = nc.(interface{ CloseWrite() error }).CloseWrite()
	})
	_, _ = io.Copy(out, nc)
	_ = out.(*net.TCPConn).CloseWrite()
	back.Wait()
}

// TestIntact sends 100 MB in both directions at once, through one service to another.
func TestIntact(t *testing.T) {
	const size = 100 << 20
	serverTLS, clientTLS := newTLS(t)
	behind := newRig(t, Config{Handler: func(_ context.Context, nc net.Conn) {
		var sent sync.WaitGroup
		sent.Go(func() {
			_, _ = io.Copy(nc, noise(2, size))
			_ = nc.(interface{ CloseWrite() error }).CloseWrite()
		})
		got, n := sum(t, nc)
		sent.Wait()
		if want, _ := sum(t, noise(1, size)); got != want || n != size {
			t.Errorf("the service got %d bytes, %x; want %x", n, got, want)
		}
	}})
	for _, c := range []struct {
		name, first string
		cfg         Config
	}{
		{name: "plain"},
		{name: "by a proxy", first: fromClient(t, 2, "192.0.2.7:1"), cfg: Config{ProxyFrom: loopback}},
		{name: "TLS", cfg: Config{TLS: serverTLS}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Handler = func(_ context.Context, nc net.Conn) { relay(t, nc, behind.Addr().String()) }
			r := newRig(t, c.cfg)
			var nc net.Conn = r.send(c.first)
			if c.cfg.TLS != nil {
				nc = tls.Client(nc, clientTLS)
			}
			var sent sync.WaitGroup
			sent.Go(func() {
				if _, err := io.Copy(nc, noise(1, size)); err != nil {
					t.Error(err)
				}
				_ = nc.(interface{ CloseWrite() error }).CloseWrite()
			})
			got, n := sum(t, nc)
			sent.Wait()
			if want, _ := sum(t, noise(2, size)); got != want || n != size {
				t.Errorf("the client got %d bytes, %x; want %x", n, got, want)
			}
			r.await("it is over", func() bool { return r.Open() == 0 })
			if st := r.Stats(); c.cfg.TLS == nil && (st.Received != size+uint64(len(c.first)) || st.Sent != size) {
				t.Errorf("counted %+v", st)
			}
		})
	}
}

// spy is a transport that notes what it is to copy from.
type spy struct {
	net.Conn
	from  []any
	limit bool
}

func (s *spy) ReadFrom(r io.Reader) (int64, error) {
	if l, ok := r.(*io.LimitedReader); ok {
		r, s.limit = l.R, true
		n, err := io.Copy(io.Discard, l)
		s.from = append(s.from, r)
		return n, err
	}
	s.from = append(s.from, r)
	return io.Copy(io.Discard, r)
}

// file is a source that has a descriptor.
type file struct {
	*strings.Reader
	syscall.Conn
}

// TestKernelCan sees to it that what is copied reaches the transport as something
// that package net can hand to the kernel: at most one *io.LimitedReader around the source.
func TestKernelCan(t *testing.T) {
	source := &file{Reader: strings.NewReader(strings.Repeat("x", 3*lastChunk+1))}
	out := &spy{}
	c := &conn{Conn: out, all: new(traffic)}
	if n, err := c.ReadFrom(source); n != 3*lastChunk+1 || err != nil || !out.limit {
		t.Errorf("ReadFrom: %d, %v", n, err)
	}
	if n := c.own.sent.Load(); n != 3*lastChunk+1 {
		t.Errorf("counted %d", n)
	}
	source.Reset("limited")
	if n, err := c.ReadFrom(io.LimitReader(source, 5)); n != 5 || err != nil {
		t.Errorf("ReadFrom of a part: %d, %v", n, err)
	}
	for _, from := range out.from {
		if from != any(source) {
			t.Errorf("copied from a %T", from)
		}
	}

	by := &spy{Conn: &half{left: 100}}
	if n, err := (&conn{Conn: by, all: new(traffic)}).ReadFrom(strings.NewReader("of memory")); n != 9 || err != nil || len(by.from) > 0 {
		t.Errorf("ReadFrom of what the kernel does not know: %d, %v, by way of %v", n, err, by.from)
	}

	in, wire := &net.TCPConn{}, &spy{}
	from := &conn{Conn: in, all: new(traffic)}
	_, _ = from.WriteTo(&conn{Conn: wire, all: new(traffic)}) // in is not open
	if len(wire.from) != 1 || wire.from[0] != any(in) {
		t.Errorf("copied from %v", wire.from)
	}
}

// half is a transport without ReadFrom, whose writes fail in the end.
type half struct {
	net.Conn
	out  bytes.Buffer
	left int
}

func (h *half) Write(b []byte) (int, error) {
	if h.left -= len(b); h.left < 0 {
		return 0, errors.New("full")
	}
	return h.out.Write(b)
}

func TestCopyWithoutTheKernel(t *testing.T) {
	h := &half{left: 3}
	c := &conn{Conn: h, all: new(traffic)}
	if n, err := c.ReadFrom(strings.NewReader("abc")); n != 3 || err != nil || h.out.String() != "abc" || c.own.sent.Load() != 3 {
		t.Errorf("ReadFrom: %d, %v, %q", n, err, h.out.String())
	}
	c.early.put([]byte("early"))
	if n, err := c.WriteTo(h); n != 0 || err == nil || err.Error() != "full" {
		t.Errorf("WriteTo: %d, %v", n, err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Error(err)
	}
}
