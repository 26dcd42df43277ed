package edge

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/test/edge/run"
	"github.com/go-easyops/easyops/test/serve"
)

// TestTransfer sends 100 MB in both directions at the same time through a TCP
// route. They arrive as they were sent, and each end hears that the other has no
// more to say while its own direction is still open. How fast that is, the
// benchmarks tell.
func TestTransfer(t *testing.T) {
	const size = 100_000_000
	url := "local:" + filepath.Join(t.TempDir(), "registry")
	reg, err := registry.Open(url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer reg.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	lease, err := reg.Register(t.Context(), []registry.Instance{{
		ID: registry.NewID(), Service: "bytes", Addr: l.Addr().String(), Kinds: []registry.Kind{registry.KindTCP}, Health: registry.Ready, Started: time.Now(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lease.Close(t.Context()) }()
	addr := serve.FreeAddr(t)
	run.Start(t, fmt.Sprintf("tcp: [{listen: %q, service: bytes}]\n", addr), "-easyops.registry="+url)

	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			served <- err
			return
		}
		served <- both(conn, size, 1, 2)
	}()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := both(conn, size, 2, 1); err != nil {
		t.Errorf("the client: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("the service: %v", err)
	}
}

// both sends the bytes of one seed and wants to hear those of another, up to the
// end that the other side says.
func both(conn net.Conn, size int64, send, want byte) (err error) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	var sent error
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, sent = io.Copy(conn, bytesOf(send, size)); sent == nil {
			sent = conn.(*net.TCPConn).CloseWrite()
		}
	})
	got, expected := sha256.New(), sha256.New()
	n, err := io.Copy(got, conn)
	wg.Wait()
	_, _ = io.Copy(expected, bytesOf(want, size)) // neither fails
	switch {
	case sent != nil:
		return sent
	case err != nil:
		return err
	case string(got.Sum(nil)) != string(expected.Sum(nil)):
		return fmt.Errorf("what arrived is not what was sent: %d bytes of %d", n, size)
	}
	return nil
}

func bytesOf(seed byte, n int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{seed}), n)
}
