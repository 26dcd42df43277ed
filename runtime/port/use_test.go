package port

import (
	"context"
	"net"
	"runtime"
	"testing"
	"unsafe"

	"google.golang.org/grpc/peer"
)

// sliceAddr cannot be compared, and structAddr looks as if it could.
type (
	sliceAddr  []string
	structAddr struct{ inner any }
)

func (sliceAddr) Network() string  { return "odd" }
func (sliceAddr) String() string   { return "odd" }
func (structAddr) Network() string { return "odd" }
func (structAddr) String() string  { return "odd" }

// Addresses of all kinds can be kept and looked for.
func TestOddAddresses(t *testing.T) {
	p := &Port{byAddr: newTable()}
	for name, a := range map[string]net.Addr{
		"TCP": &net.TCPAddr{}, "Unix": &net.UnixAddr{}, "IP": &net.IPAddr{},
		"nil": nil, "nil TCP": (*net.TCPAddr)(nil), "nil Unix": (*net.UnixAddr)(nil), "nil IP": (*net.IPAddr)(nil), "nil odd": (*sliceAddr)(nil),
		"slice": sliceAddr{"odd"}, "struct": structAddr{[]int{1}},
	} {
		t.Run(name, func(t *testing.T) {
			ofPeer := func(a net.Addr) *Use { return p.UseOf(peer.NewContext(context.Background(), &peer.Peer{Addr: a})) }
			c := &conn{addr: ownAddr(a)}
			_ = c.addr.String() + c.addr.Network()
			p.byAddr.add(c)
			if ofPeer(c.addr) != &c.use {
				t.Error("it is not found by its own address")
			}
			if _, own := a.(*net.IPAddr); ofPeer(a) != nil && !own {
				t.Error("it is found by the address that it came with")
			}
		})
	}
}

// What the two directions and the calls of a connection write is apart, and from
// what all of them read.
func TestCacheLines(t *testing.T) {
	var c conn
	lines := map[uintptr]string{}
	for name, at := range map[string]uintptr{
		"received": unsafe.Offsetof(c.received), "sent": unsafe.Offsetof(c.sent),
		"caller": unsafe.Offsetof(c.use) + unsafe.Offsetof(c.use.by), "calls": unsafe.Offsetof(c.use) + unsafe.Offsetof(c.use.begun),
		"the next": unsafe.Sizeof(c),
	} {
		if other, ok := lines[at/64]; ok {
			t.Errorf("%s is beside %s", name, other)
		}
		lines[at/64] = name
	}
	if size := unsafe.Sizeof(c); size%64 != 0 || size > 448 {
		t.Errorf("a connection takes %d bytes", size)
	}
	var kept []*conn // on the heap
	for range 100 {
		kept = append(kept, &conn{port: &Port{}})
	}
	for _, c := range kept { // what is larger than 512 bytes, or no multiple of 64, does not begin a line
		if at := uintptr(unsafe.Pointer(c)); at%64 != 0 {
			t.Fatalf("a connection begins in the middle of a cache line, at %x", at)
		}
	}
	runtime.KeepAlive(kept)
}

// A connection that is closed while it is being classified is not found, and
// nothing is left of it.
func TestSettleOfAClosedConnection(t *testing.T) {
	for _, closed := range []bool{true, false} {
		client, server := net.Pipe()
		p := &Port{conns: map[*conn]struct{}{}, byAddr: newTable()}
		c := &conn{Conn: server, port: p, addr: ownAddr(server.RemoteAddr())}
		p.conns[c] = struct{}{}
		p.count[classifying]++
		if closed {
			_ = c.Close()
		}
		p.settle(c, protoGRPC)
		if found := p.byAddr.find(c.addr) != nil; found == closed {
			t.Errorf("closed %t, and found %t", closed, found)
		}
		if p.count[protoGRPC] != map[bool]int{true: 0, false: 1}[closed] || p.count[classifying] != 0 {
			t.Errorf("closed %t: counts %v", closed, p.count)
		}
		_ = c.Close()
		_ = client.Close()
		if p.byAddr.find(c.addr) != nil {
			t.Error("found when it is closed")
		}
	}
}
