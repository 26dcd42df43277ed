package edge

import (
	"fmt"
	"net"
	"os"
	"sync"
)

// listener is a TCP listener that another process may go on with. Both have it then:
// a connection is in one queue of the kernel, and goes to the one that takes it first.
type listener struct {
	*net.TCPListener
	name string // by which a successor asks for it

	mu     sync.Mutex
	paused bool
	ended  chan struct{} // closed by Close
	end    sync.Once
}

func newListener(name string, l *net.TCPListener) *listener {
	return &listener{TCPListener: l, name: name, ended: make(chan struct{})}
}

// Accept waits for a connection. It returns none once the listener is paused, and no
// error before it is closed: whoever accepts is not to take a pause for a fault.
func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.AcceptTCP()
	if err == nil {
		return conn, nil
	}
	if l.isPaused() {
		<-l.ended
		return nil, net.ErrClosed
	}
	return nil, err
}

// Pause leaves all further connections to the process that has the listener as well.
// One that was taken before is served: closing our copy interrupts Accept only while
// it has none.
func (l *listener) Pause() {
	l.mu.Lock()
	l.paused = true
	l.mu.Unlock()
	_ = l.TCPListener.Close()
}

func (l *listener) isPaused() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.paused
}

// again returns another listener with the same queue.
func (l *listener) again() (*listener, error) {
	f, err := l.File()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return listenerOf(l.name, f)
}

// listenerOf makes one of a file.
func listenerOf(name string, f *os.File) (*listener, error) {
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("listener %q: %w", name, err)
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		_ = l.Close()
		return nil, fmt.Errorf("listener %q: %T is none of TCP", name, l)
	}
	return newListener(name, tcp), nil
}

// Close ends Accept.
func (l *listener) Close() (err error) {
	l.end.Do(func() {
		close(l.ended)
		if !l.isPaused() {
			err = l.TCPListener.Close()
		}
	})
	return err
}
