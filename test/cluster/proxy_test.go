package cluster

import (
	"net"
	"sync"
	"testing"
)

// proxy is a cable between a server and etcd that can be cut.
type proxy struct {
	listener net.Listener
	to       string
	wg       sync.WaitGroup

	mu    sync.Mutex
	cut   chan struct{} // closed while it is cut
	conns map[net.Conn]bool
}

func startProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, to: to, conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.drop()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) url() string { return "etcd://" + p.listener.Addr().String() }

// Cut makes what is sent stay where it is, as a cable does: nobody is told.
// Mend closes what was open before, and lets new connections through.
func (p *proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = make(chan struct{})
}

func (p *proxy) Mend() {
	p.mu.Lock()
	close(p.cut)
	p.cut = nil
	p.mu.Unlock()
	p.drop()
}

func (p *proxy) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut != nil {
		close(p.cut)
		p.cut = nil
	}
	for c := range p.conns {
		c.Close()
	}
}

func (p *proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.carry(in) })
	}
}

func (p *proxy) carry(in net.Conn) {
	p.keep(in)
	defer p.lose(in)
	p.wait()
	out, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	p.keep(out)
	defer p.lose(out)
	p.wg.Go(func() { p.copy(out, in) })
	p.copy(in, out)
}

func (p *proxy) keep(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
}

func (p *proxy) lose(c net.Conn) {
	c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// copy carries one direction, and closes both where it ends.
func (p *proxy) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	for buffer := make([]byte, 32<<10); ; {
		n, err := from.Read(buffer)
		p.wait()
		if _, werr := to.Write(buffer[:n]); err != nil || werr != nil {
			return
		}
	}
}

// wait waits for the cable to be whole.
func (p *proxy) wait() {
	p.mu.Lock()
	cut := p.cut
	p.mu.Unlock()
	if cut != nil {
		<-cut
	}
}
