package port

import (
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// What is put into the table is found, and what was taken out is not, however
// often it grows.
func TestTable(t *testing.T) {
	tab, open := newTable(), map[*conn]bool{}
	for i := range 20_000 {
		c := &conn{addr: ownAddr(&net.TCPAddr{Port: i})}
		tab.add(c)
		open[c] = true
		for c := range open { // in no order
			if len(open) > 100 || rand.IntN(3) == 0 {
				tab.remove(c)
				delete(open, c)
				if tab.find(c.addr) != nil {
					t.Fatal("found when it is gone")
				}
			}
			break
		}
	}
	for c := range open {
		if tab.find(c.addr) != c {
			t.Fatal("not found")
		}
	}
	if size := len(*tab.slots.Load()); tab.n != len(open) || size > 1024 {
		t.Errorf("%d connections of %d, in %d slots", tab.n, len(open), size)
	}
}

// Of two connections with the same address, as listeners of the user's may have
// them, the later is found, and the earlier takes nothing away.
func TestTableWithTheSameAddress(t *testing.T) {
	tab, addr := newTable(), ownAddr(&net.TCPAddr{})
	first, second := &conn{addr: addr}, &conn{addr: addr}
	tab.add(first)
	tab.add(second)
	tab.remove(first)
	if tab.find(addr) != second || tab.n != 1 {
		t.Error("the second is not found")
	}
	tab.remove(second)
	tab.remove(second)
	if tab.find(addr) != nil || tab.n != 0 {
		t.Error("it is found when it is gone")
	}
}

// A connection is found at every moment while others come and go.
func TestTableWhileItChanges(t *testing.T) {
	tab := newTable()
	stays := &conn{addr: ownAddr(&net.TCPAddr{Port: 1})}
	tab.add(stays)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if tab.find(stays.addr) != stays {
					t.Error("not found")
					return
				}
			}
		})
	}
	for range 200 {
		var some []*conn
		for range 50 {
			c := &conn{addr: ownAddr(&net.TCPAddr{})}
			tab.add(c)
			some = append(some, c)
		}
		for _, c := range some {
			tab.remove(c)
		}
	}
	close(stop)
	wg.Wait()
}
