package tcp

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
)

var (
	loopback  = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8")}
	elsewhere = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
)

func addr(s string) *net.TCPAddr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

// header is what a proxy sends.
func header(t *testing.T, h *proxyproto.Header) string {
	t.Helper()
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// fromClient is the header for a client.
func fromClient(t *testing.T, version byte, client string) string {
	t.Helper()
	dst := addr("203.0.113.1:443")
	if strings.HasPrefix(client, "[") {
		dst = addr("[2001:db8::1]:443")
	}
	return header(t, proxyproto.HeaderProxyFromAddrs(version, addr(client), dst))
}

func TestProxyHeader(t *testing.T) {
	const self = "the proxy"
	unix := &net.UnixAddr{Net: "unix", Name: "/run/client"}
	withTLV := proxyproto.HeaderProxyFromAddrs(2, addr("192.0.2.7:4711"), addr("203.0.113.1:443"))
	if err := withTLV.SetTLVs([]proxyproto.TLV{{Type: proxyproto.PP2_TYPE_NOOP, Value: make([]byte, 2000)}}); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, Config{Handler: tellPeer, ProxyFrom: loopback})
	for _, c := range []struct{ name, header, client string }{
		{"version 1", fromClient(t, 1, "192.0.2.7:4711"), "192.0.2.7:4711"},
		{"version 1, IPv6", fromClient(t, 1, "[2001:db8::7]:4711"), "[2001:db8::7]:4711"},
		{"version 2", fromClient(t, 2, "192.0.2.7:4711"), "192.0.2.7:4711"},
		{"version 2, IPv6", fromClient(t, 2, "[2001:db8::7]:4711"), "[2001:db8::7]:4711"},
		{"longer than the buffer", header(t, withTLV), "192.0.2.7:4711"},
		{"unknown", "PROXY UNKNOWN\r\n", self},
		{"health check", header(t, &proxyproto.Header{Version: 2, Command: proxyproto.LOCAL}), self},
		{"of a socket", header(t, proxyproto.HeaderProxyFromAddrs(2, unix, unix)), self},
	} {
		t.Run(c.name, func(t *testing.T) {
			nc := r.send(c.header + "first ") // in one segment
			want := c.client
			if want == self {
				want = nc.LocalAddr().String()
			}
			r.wantHear(nc, want+"\nfirst ")
			r.wantEcho(nc, "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n") // a second one is data
			if got, _ := r.Connections(9); got[len(got)-1].Peer != want || (got[len(got)-1].Proxy == "") != (c.client == self) {
				t.Errorf("listed as %+v", got[len(got)-1])
			}
			nc.Close()
			r.await("it is gone", func() bool { return r.Open() == 0 })
		})
	}
}

// TestProxyHeaderInParts sends a header byte by byte.
func TestProxyHeaderInParts(t *testing.T) {
	r := newRig(t, Config{Handler: tellPeer, ProxyFrom: loopback})
	nc := r.dial()
	_ = nc.SetNoDelay(true)
	for _, b := range []byte(fromClient(t, 2, "192.0.2.7:4711")) {
		if _, err := nc.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	r.wantHear(nc, "192.0.2.7:4711\n")
	r.wantEcho(nc, "and on")
}

// TestReadAhead: what came with the header is read first, in parts of any size.
func TestReadAhead(t *testing.T) {
	r := newRig(t, Config{ProxyFrom: loopback, Handler: func(_ context.Context, nc net.Conn) {
		in := struct{ io.Reader }{nc} // and not WriteTo
		_, _ = io.CopyBuffer(struct{ io.Writer }{nc}, in, make([]byte, 3))
	}})
	nc := r.send(fromClient(t, 1, "192.0.2.7:1") + "0123456789")
	r.wantHear(nc, "0123456789")
	r.wantEcho(nc, "and more")
}

// TestNoHeaderFromOthers: who is no proxy cannot name a client.
func TestNoHeaderFromOthers(t *testing.T) {
	for _, from := range [][]netip.Prefix{nil, elsewhere} {
		r := newRig(t, Config{Handler: tellPeer, ProxyFrom: from})
		for _, version := range []byte{1, 2} {
			forged := fromClient(t, version, "192.0.2.7:4711")
			nc := r.send(forged)
			r.wantHear(nc, nc.LocalAddr().String()+"\n"+forged)
			nc.Close()
		}
	}
}

func TestProxyHeaderIsRequired(t *testing.T) {
	good := fromClient(t, 2, "192.0.2.7:4711")
	udp := proxyproto.HeaderProxyFromAddrs(2, &net.UDPAddr{IP: addr("192.0.2.7:1").IP, Port: 1}, &net.UDPAddr{IP: addr("192.0.2.8:1").IP, Port: 1})
	for _, c := range []struct{ name, sent string }{
		{"nothing", ""},
		{"data", "hello, I am a client\r\n"},
		{"half of version 1", "PROXY TCP4 192.0.2.7"},
		{"half of version 2", good[:20]},
		{"version 1 without end", "PROXY TCP4 " + strings.Repeat("1", 4000)},
		{"version 1, no address", "PROXY TCP4 a b 1 2\r\n"},
		{"version 2, length beyond reason", good[:14] + "\xff\xff" + strings.Repeat("x", 70_000)},
		{"version 2, no such command", good[:12] + "\x2f" + good[13:]},
		{"of UDP", header(t, udp)},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Config{Handler: tellPeer, ProxyFrom: loopback, OpenTimeout: 100 * time.Millisecond})
			nc := r.dial()
			_, _ = nc.Write([]byte(c.sent)) // may be cut off
			r.wantClosed(nc)
			r.await("it is counted", func() bool { return r.Refused(BadProxyHeader) == 1 })
			r.wantLog("no header of the PROXY protocol", nc.LocalAddr().String())
		})
	}
}

// TestLimitOfProxiedClients counts for clients, and not for their proxy.
func TestLimitOfProxiedClients(t *testing.T) {
	r := newRig(t, Config{Handler: tellPeer, ProxyFrom: loopback, MaxConnsPerIP: 1})
	one := r.send(fromClient(t, 2, "192.0.2.1:1"))
	r.wantHear(one, "192.0.2.1:1\n")
	r.wantHear(r.send(fromClient(t, 2, "192.0.2.2:1")), "192.0.2.2:1\n")
	r.wantClosed(r.send(fromClient(t, 1, "192.0.2.1:2")))
	r.wantHear(r.send(fromClient(t, 1, "[2001:db8::1]:1")), "[2001:db8::1]:1\n")
	r.wantClosed(r.send(fromClient(t, 2, "[2001:db8::2]:1"))) // of the same /64
	if n := r.Refused(TooManyOfClient); n != 2 {
		t.Errorf("%d refused, want 2", n)
	}
	one.Close()
	r.await("it is gone", func() bool { return r.Open() == 2 })
	r.wantHear(r.send(fromClient(t, 2, "192.0.2.1:3")), "192.0.2.1:3\n")
}
