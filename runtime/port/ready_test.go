package port

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"runtime"
	"testing"
	"time"
)

// borrowed is a pool that counts what is not given back.
type borrowed struct{ out, most int }

func (p *borrowed) Get(size int) *[]byte {
	p.out++
	p.most = max(p.most, p.out)
	b := make([]byte, size)
	return &b
}

func (p *borrowed) Put(*[]byte) { p.out-- }

// tcpPair returns both ends of a connection by TCP.
func tcpPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	if client, err = net.Dial("tcp", lis.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = lis.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// selfSigned returns a certificate that is its own authority.
func selfSigned(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"server.test"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// readers are connections as the gRPC server gets them, and their other ends.
func readers(t testing.TB) map[string]func() (io.WriteCloser, *grpcConn) {
	grpcOf := func(c *conn, nc net.Conn) *grpcConn {
		g := &grpcConn{replayConn: replayConn{Conn: nc}, conn: c}
		g.setReader(nc)
		return g
	}
	return map[string]func() (io.WriteCloser, *grpcConn){
		"TCP": func() (io.WriteCloser, *grpcConn) {
			client, server := tcpPair(t)
			c := &conn{Conn: server}
			return client, grpcOf(c, c)
		},
		"TLS": func() (io.WriteCloser, *grpcConn) {
			client, server := tcpPair(t)
			c := &conn{Conn: server}
			cert, roots := selfSigned(t), x509.NewCertPool()
			roots.AddCert(cert.Leaf)
			s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
			tc := tls.Client(client, &tls.Config{RootCAs: roots, ServerName: "server.test"})
			done := make(chan error, 1)
			go func() { done <- tc.Handshake() }()
			if err := errors.Join(s.Handshake(), <-done); err != nil {
				t.Fatal(err)
			}
			return tc, grpcOf(c, s)
		},
		"other": func() (io.WriteCloser, *grpcConn) {
			client, server := tcpPair(t)
			c := &conn{Conn: struct{ net.Conn }{server}} // of which nothing is known
			return client, grpcOf(c, c)
		},
	}
}

// All that was sent is read, in the sizes in which it comes, after what the port
// has read already, and then the end.
func TestReadOnReady(t *testing.T) {
	for name, open := range readers(t) {
		t.Run(name, func(t *testing.T) {
			client, g := open()
			g.rest = []byte("replayed")
			pool, want := &borrowed{}, []byte("replayed")
			read := func() []byte {
				b, n, err := g.ReadOnReady(32<<10, pool)
				if err != nil || n == 0 {
					t.Fatalf("%d bytes, %v", n, err)
				}
				pool.Put(b)
				return (*b)[:n]
			}
			got := read()
			if !g.begun {
				t.Error("the connection is not marked as taken")
			}
			for i, size := range []int{1, 100, 511, 512, 513, 1, 1024, 16 << 10, 40_000, 512, 1} {
				message := bytes.Repeat([]byte{byte('a' + i)}, size)
				want = append(want, message...)
				if _, err := client.Write(message); err != nil {
					t.Fatal(err)
				}
				for len(got) < len(want) { // never waits for more than there is
					got = append(got, read()...)
				}
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got %d bytes, want %d", len(got), len(want))
			}
			if n := g.conn.received.Load(); n < uint64(len(want)-len("replayed")) {
				t.Errorf("%d bytes are counted", n)
			}
			client.Close()
			if b, n, err := g.ReadOnReady(32<<10, pool); b != nil || n != 0 || !errors.Is(err, io.EOF) {
				t.Errorf("at the end: %d bytes, %v", n, err)
			}
			if pool.out != 0 || pool.most != 1 {
				t.Errorf("%d buffers are left, %d at most", pool.out, pool.most)
			}
		})
	}
}

// watched is a pool that tells whether a buffer is taken.
type watched struct {
	borrowed
	taken chan bool
}

func (p *watched) Get(size int) *[]byte {
	select {
	case p.taken <- true:
	default:
	}
	return p.borrowed.Get(size)
}

// A connection that waits holds no buffer, and its deadline ends that. One of which
// nothing is known does hold one.
func TestWaitingTakesNoBuffer(t *testing.T) {
	for name, open := range readers(t) {
		t.Run(name, func(t *testing.T) {
			_, g := open()
			pool := &watched{taken: make(chan bool, 1)}
			_ = g.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			b, _, err := g.ReadOnReady(32<<10, pool)
			if b != nil || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("got %v", err)
			}
			if pool.out != 0 {
				t.Errorf("%d buffers are left", pool.out)
			}
			// A socket is tried first, with a buffer that it gives back before it waits.
			if took := len(pool.taken) == 1; name == "TLS" && took {
				t.Error("a buffer is taken")
			} else if name == "other" && !took {
				t.Error("negative control: none is taken")
			}
		})
	}
}

// While a socket is waited for its buffer is back in the pool.
func TestSocketGivesItsBufferBack(t *testing.T) {
	if !canReadNow {
		t.Skip("not on " + runtime.GOOS)
	}
	client, server := tcpPair(t)
	s, pool := newSocket(server), &borrowed{}
	s.size, s.pool = 100, pool
	attempt := func() (done bool) {
		if err := s.raw.Control(func(fd uintptr) { done = s.attempt(fd) }); err != nil {
			t.Fatal(err)
		}
		return done
	}
	if attempt() || pool.out != 0 || s.buf != nil {
		t.Errorf("with nothing to read %d buffers are out", pool.out)
	}
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	s.pool = pool
	if b, n, err := s.read(100, pool); n != 1 || err != nil || (*b)[0] != 'x' {
		t.Errorf("read %d bytes, %v", n, err)
	}
	if newSocket(struct{ net.Conn }{server}) != nil {
		t.Error("what reads in a way of its own is passed by")
	}
}

// BenchmarkReadOnReady measures a message of 100 bytes that is written and read, against a read
// into a buffer of the connection's own.
func BenchmarkReadOnReady(b *testing.B) {
	message := make([]byte, 100)
	for name, open := range readers(b) {
		client, g := open()
		pool, own := &kept{}, make([]byte, 32<<10)
		run := func(name string, read func() error) {
			b.Run(name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := client.Write(message); err != nil {
						b.Fatal(err)
					}
					if err := read(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		run(name, func() error { b, _, err := g.ReadOnReady(32<<10, pool); pool.Put(b); return err })
		run(name+"/own", func() error { _, err := g.Read(own); return err })
	}
}

// kept is a pool of one buffer.
type kept struct{ b *[]byte }

func (p *kept) Get(size int) *[]byte {
	b := p.b
	if p.b = nil; b == nil || len(*b) < size {
		own := make([]byte, size)
		b = &own
	}
	return b
}

func (p *kept) Put(b *[]byte) { p.b = b }
