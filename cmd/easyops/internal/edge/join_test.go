package edge

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// joined joins two connections, whose other ends it returns, and the error in the end.
func joined(idle time.Duration) (client, instance net.Conn, ended <-chan error) {
	client, a := net.Pipe()
	b, instance := net.Pipe()
	end := make(chan error, 1)
	go func() { end <- join(a, b, idle) }()
	return client, instance, end
}

// TestIdle: a connection ends when nothing passes in either direction for as long as it
// may, or when the other side takes nothing; and not before.
func TestIdle(t *testing.T) {
	const idle = time.Minute
	for name, test := range map[string]struct {
		idle time.Duration
		use  func(client, instance net.Conn)
		want error
	}{
		"nothing": {idle, func(_, _ net.Conn) {}, errIdle},
		"nothing, and it may": {0, func(client, _ net.Conn) {
			time.Sleep(24 * time.Hour)
			client.Close()
		}, nil},
		"one direction": {idle, func(client, instance net.Conn) {
			go func() { _, _ = io.Copy(io.Discard, instance) }()
			for range 100 {
				time.Sleep(idle * 3 / 4)
				if _, err := client.Write([]byte{1}); err != nil {
					t.Error(err)
				}
			}
			client.Close()
		}, nil},
		"nobody reads": {idle, func(client, _ net.Conn) {
			go func() { _, _ = client.Write([]byte("never taken")) }()
		}, errIdle},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				client, instance, ended := joined(test.idle)
				defer client.Close()
				defer instance.Close()
				test.use(client, instance)
				if test.want == nil {
					instance.Close()
				}
				err := <-ended
				if (test.want == nil) == errors.Is(err, errIdle) {
					t.Errorf("ended with %v, want %v", err, test.want)
				}
				if took := time.Since(begun); test.want != nil && (took < idle || took > idle*5/4) {
					t.Errorf("ended after %v", took)
				}
			})
		})
	}
}

// TestIdleBySockets: looking for idle connections changes no byte of those that the
// kernel passes on, and idle ones are cut off on both sides.
func TestIdleBySockets(t *testing.T) {
	const idle = 500 * time.Millisecond
	p := newPlace(t)
	ends := make(chan error, 1)
	p.serve("lines", func(c *net.TCPConn) {
		_, err := io.Copy(c, c)
		ends <- err
	})
	f, err := parseRoutes("tcp: [{listen: \"127.0.0.1:0\", service: lines, idle_timeout: 1s}]\n")
	if err != nil {
		t.Fatal(err)
	}
	f.TCP[0].IdleTimeout = idle // a file has seconds
	c := dial(t, p.servePorts(f, nil))
	sent := make([]byte, 3<<20)
	_, _ = rand.Read(sent)
	go func() {
		for block := range slices.Chunk(sent, 300<<10) {
			time.Sleep(idle / 8)
			_, _ = c.Write(block)
		}
	}()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%v, or other bytes", err)
	}
	if _, err := c.Read(got); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client sees %v", err)
	}
	if err := <-ends; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the instance sees %v", err)
	}
}
