package local

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

const (
	suffix = ".sock"
	// writeTimeout is how long a reader may leave its socket full.
	writeTimeout = 100 * time.Millisecond
)

// lease is a socket that tells whoever connects what this process serves, now
// and after each change.
type lease struct {
	id       string
	path     string
	file     os.FileInfo // of the socket, to tell it from a later one
	listener *net.UnixListener
	unwatch  func()
	wg       sync.WaitGroup

	lost     chan struct{}
	loseOnce sync.Once

	mu      sync.Mutex
	line    []byte
	readers map[net.Conn]struct{} // nil once closed
}

func newLease(dir string, instances []registry.Instance, logger *slog.Logger) (*lease, error) {
	line, err := prepare(instances)
	if err != nil {
		return nil, err
	}
	if err := ensureDir(dir); err != nil {
		return nil, err
	}
	l := &lease{
		id:      instances[0].ID,
		line:    line,
		path:    filepath.Join(dir, instances[0].ID+suffix),
		lost:    make(chan struct{}),
		readers: map[net.Conn]struct{}{},
	}
	if err := l.listen(dir); err != nil {
		return nil, err
	}
	l.wg.Go(l.accept)
	l.watch(dir, logger)
	return l, nil
}

func prepare(instances []registry.Instance) ([]byte, error) {
	if err := registry.ValidateAll(instances); err != nil {
		return nil, err
	}
	return encode(instances)
}

// listen makes the socket under another name first, so that a file with the
// right one can be connected to, or is stale.
func (l *lease) listen(dir string) (err error) {
	temp := "." + registry.NewID() + tempSuffix
	if l.listener, err = listen(dir, temp); err != nil {
		return err
	}
	tempPath := filepath.Join(dir, temp)
	err = os.Chmod(tempPath, 0o600)
	if err == nil {
		l.file, err = os.Lstat(tempPath)
	}
	if err == nil {
		err = os.Rename(tempPath, l.path)
	}
	if err != nil {
		return errors.Join(err, l.listener.Close(), os.Remove(tempPath))
	}
	return nil
}

// watch notices when someone removes the socket's file. Without it entries are
// listed as well, as long as nobody does.
func (l *lease) watch(dir string, logger *slog.Logger) {
	unwatch, err := watchDir(dir, func(name string) {
		if name == filepath.Base(l.path) || name == "" {
			l.check()
		}
	})
	if err != nil {
		logger.Warn("local registry cannot watch its directory", "err", err)
		unwatch = func() {}
	}
	l.unwatch = unwatch
	l.check()
}

func (l *lease) check() {
	if info, err := os.Lstat(l.path); err != nil || !os.SameFile(info, l.file) {
		l.loseOnce.Do(func() { close(l.lost) })
	}
}

// Lost implements [registry.Lease].
func (l *lease) Lost() <-chan struct{} { return l.lost }

// Update implements [registry.Lease]. Readers that do not read are dropped:
// they ask again when they do.
func (l *lease) Update(_ context.Context, instances []registry.Instance) error {
	line, err := prepare(instances)
	if err != nil {
		return err
	}
	if instances[0].ID != l.id {
		return errors.New("the ID of a server does not change")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.readers == nil {
		return net.ErrClosed
	}
	l.line = line
	l.sendAll()
	return nil
}

// sendAll tells all readers at the same time, because each may take its while.
func (l *lease) sendAll() {
	var sends sync.WaitGroup
	var failed sync.Map
	for conn := range l.readers {
		sends.Go(func() {
			if !l.send(conn) {
				failed.Store(conn, nil)
			}
		})
	}
	sends.Wait()
	for conn := range l.readers {
		if _, ok := failed.Load(conn); ok {
			delete(l.readers, conn)
			conn.Close()
		}
	}
}

func (l *lease) send(conn net.Conn) bool {
	if err := conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return false
	}
	_, err := conn.Write(l.line)
	return err == nil
}

// Close implements [registry.Lease].
func (l *lease) Close(context.Context) error {
	l.unwatch()
	if info, err := os.Lstat(l.path); err == nil && os.SameFile(info, l.file) {
		os.Remove(l.path) // where it stays, the next reader finds it stale
	}
	l.listener.Close()
	l.mu.Lock()
	for conn := range l.readers {
		conn.Close()
	}
	l.readers = nil
	l.mu.Unlock()
	l.wg.Wait()
	return nil
}

func (l *lease) accept() {
	for {
		conn, err := l.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // no file descriptor is free
			time.Sleep(writeTimeout)
			continue
		}
		if l.add(conn) {
			l.wg.Go(func() { l.linger(conn) })
		}
	}
}

func (l *lease) add(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.readers == nil || !l.send(conn) {
		conn.Close()
		return false
	}
	l.readers[conn] = struct{}{}
	return true
}

// linger waits until the reader goes. It has nothing to say.
func (l *lease) linger(conn net.Conn) {
	_, _ = io.CopyN(io.Discard, conn, 1)
	l.mu.Lock()
	delete(l.readers, conn)
	l.mu.Unlock()
	conn.Close()
}
