package etcdserver

import (
	"net"
	"sync"
)

// Proxy passes TCP connections on to an address, until it is told to hang:
// then nothing passes and nothing is refused, as where packets are dropped.
type Proxy struct {
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu    sync.Mutex
	free  *sync.Cond // hangs or closed has changed
	hangs bool
	conns map[net.Conn]struct{} // nil once closed
}

// NewProxy starts a proxy on loopback. The caller closes it.
func NewProxy(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: l, target: target, conns: map[net.Conn]struct{}{}}
	p.free = sync.NewCond(&p.mu)
	p.wg.Go(p.accept)
	return p, nil
}

// Addr is where to connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Hang lets nothing pass, or lets it again: connections go on then.
func (p *Proxy) Hang(hang bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hangs = hang
	p.free.Broadcast()
}

// Drop ends all connections. New ones are taken.
func (p *Proxy) Drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		conn.Close()
	}
	clear(p.conns)
}

// Close ends all connections and waits for their end.
func (p *Proxy) Close() {
	p.listener.Close()
	p.mu.Lock()
	for conn := range p.conns {
		conn.Close()
	}
	p.conns = nil
	p.free.Broadcast()
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(conn) })
	}
}

func (p *Proxy) serve(conn net.Conn) {
	defer conn.Close()
	if !p.add(conn) || !p.wait() {
		return
	}
	back, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer back.Close()
	if !p.add(back) {
		return
	}
	p.wg.Go(func() { p.copy(conn, back) })
	p.copy(back, conn)
}

func (p *Proxy) add(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		return false
	}
	p.conns[conn] = struct{}{}
	return true
}

// wait waits until something may pass, and reports whether the proxy is open.
func (p *Proxy) wait() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.hangs && p.conns != nil {
		p.free.Wait()
	}
	return p.conns != nil
}

func (p *Proxy) copy(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if !p.wait() {
			return
		}
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}
