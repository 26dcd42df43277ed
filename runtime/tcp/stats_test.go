package tcp

import (
	"context"
	"io"
	"net"
	"testing"
	"time"
)

// echoByHand is echo without the kernel's copying, which counts late.
func echoByHand(_ context.Context, nc net.Conn) {
	_, _ = io.Copy(struct{ io.Writer }{nc}, struct{ io.Reader }{nc})
}

// TestConnections: the oldest come first, and not more than are wanted.
func TestConnections(t *testing.T) {
	r := newRig(t, Config{Handler: echoByHand})
	var peers []string
	for range 5 {
		nc := r.dial()
		r.wantEcho(nc, "x")
		peers = append(peers, nc.LocalAddr().String())
	}
	r.await("all is counted", func() bool { return r.Stats().Sent == 5 })
	for most, want := range map[int]int{0: 0, 3: 3, 5: 5, 9: 5} {
		got, total := r.Connections(most)
		if len(got) != want || total != 5 {
			t.Errorf("%d at most: %d of %d", most, len(got), total)
		}
		for i, c := range got {
			if c.Peer != peers[i] || c.Received != 1 || c.Sent != 1 {
				t.Errorf("%d: %+v, want %s", i, c, peers[i])
			}
		}
	}
}

// TestStatsOfMany: what many connections carry is in the sums while they are open and
// afterwards, and to ask for these takes no longer for many.
func TestStatsOfMany(t *testing.T) {
	r := newRig(t, Config{Handler: echoByHand})
	const many = 100
	var open []net.Conn
	for range many {
		nc := r.dial()
		r.wantEcho(nc, "ab")
		open = append(open, nc)
	}
	r.await("all is counted", func() bool { return r.Stats().Sent == 2*many })
	if st := r.Stats(); st.Received != 2*many || st.Open != many || st.Accepted != many {
		t.Errorf("counted %+v", st)
	}
	for _, nc := range open {
		nc.Close()
	}
	r.await("they are gone", func() bool { return r.Open() == 0 })
	if st := r.Stats(); st.Received != 2*many || st.Sent != 2*many {
		t.Errorf("counted %+v in the end", st)
	}
}

// TestStatsLookAtNone: the sums are known without the connections, so that a scrape does
// not hold up new ones.
func TestStatsLookAtNone(t *testing.T) {
	s := New(nil, Config{Handler: func(context.Context, net.Conn) {}})
	c := &conn{begun: time.Now(), all: s.share()}
	s.conns[c] = struct{}{}
	c.all.received.Add(7)
	c.own.received.Add(70) // nobody adds these up
	if st := s.Stats(); st.Received != 7 || st.Open != 1 {
		t.Errorf("counted %+v", st)
	}
}
