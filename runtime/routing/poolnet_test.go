package routing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-easyops/easyops/runtime/registry"
)

// listener is an instance that says its name to who connects, and then what it is told.
type listener struct {
	net.Listener
	id       string
	accepted atomic.Int32
}

func listenAs(t *testing.T, id string) *listener {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{Listener: lis, id: id}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			l.accepted.Add(1)
			all.Go(func() {
				defer conn.Close()
				_, _ = io.WriteString(conn, id+"\n")
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() { lis.Close(); all.Wait() })
	return l
}

func (l *listener) instance(specials ...string) registry.Instance {
	return tcp(l.id, append(specials, "at="+l.Addr().String())...)
}

// hear reads the name of who is connected, and closes.
func hear(t *testing.T, conn net.Conn) string {
	t.Helper()
	defer conn.Close()
	name := make([]byte, 2)
	if _, err := io.ReadFull(conn, name); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(name))
}

// TestPoolOverTCP: with real connections: one that has died is left at once, and all
// that was said arrives.
func TestPoolOverTCP(t *testing.T) {
	a, b := listenAs(t, "a"), listenAs(t, "b")
	p := openPool(t, PoolConfig{Registry: newMemory(a.instance(), b.instance())})
	heard := map[string]int{}
	connect := func() string {
		conn, i, err := p.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if conn.RemoteAddr().String() != i.Addr {
			t.Errorf("connected to %v, named is %v", conn.RemoteAddr(), i.Addr)
		}
		id := hear(t, conn)
		if id != i.ID {
			t.Errorf("%s answers, named is %s", id, i.ID)
		}
		heard[id]++
		return id
	}
	for range 100 {
		connect()
	}
	if heard["a"] < 20 || heard["b"] < 20 {
		t.Errorf("heard %v", heard)
	}
	a.Close()
	for range 100 {
		if connect() == "a" {
			t.Error("it is closed")
		}
	}
	if s := p.Status(); s.LastError == "" || s.Instances[0].InUse+s.Instances[1].InUse > 0 {
		t.Errorf("%+v", s)
	}
}

// TestPoolConnIsTCP: what a connection of TCP can do it still can, so that bytes go
// from one to another within the kernel; also after the pool is closed.
func TestPoolConnIsTCP(t *testing.T) {
	a := listenAs(t, "a")
	p := openPool(t, PoolConfig{Registry: newMemory(a.instance())})
	conn, _, err := p.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	half, ok := conn.(interface {
		io.ReaderFrom
		io.WriterTo
		CloseWrite() error
	})
	if !ok {
		t.Fatalf("a %T cannot do all that one of TCP can", conn)
	}
	if _, err := half.ReadFrom(strings.NewReader("hi")); err != nil {
		t.Error(err)
	}
	if err := half.CloseWrite(); err != nil {
		t.Error(err)
	}
	var heard strings.Builder
	if _, err := half.WriteTo(&heard); err != nil || heard.String() != "a\nhi" {
		t.Errorf("heard %q, %v", heard.String(), err)
	}
}

// sealed is a connection that was secured.
type sealed struct{ net.Conn }

// TestPoolSecure: an instance that cannot be secured is left like one that refuses, and
// nothing stays open.
func TestPoolSecure(t *testing.T) {
	a, b := listenAs(t, "a"), listenAs(t, "b")
	var refused atomic.Pointer[net.Conn]
	p := openPool(t, PoolConfig{
		Registry: newMemory(a.instance(), b.instance()), MaxWait: -1,
		Secure: func(_ context.Context, conn net.Conn) (net.Conn, error) {
			if conn.RemoteAddr().String() == a.Addr().String() {
				refused.Store(&conn)
				return nil, errors.New("who are you")
			}
			return sealed{conn}, nil
		},
	})
	for range 30 {
		conn, i, err := p.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := conn.(sealed); !ok || i.ID != "b" {
			t.Errorf("a %T of %s", conn, i.ID)
		}
		hear(t, conn)
	}
	if conn := refused.Load(); conn == nil {
		t.Error("a was never tried: the test is blind")
	} else if _, err := (*conn).Write(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the connection to a is open: %v", err)
	}
	for _, i := range p.Status().Instances {
		if i.InUse != 0 || i.ID == "a" && i.LastError != i.Addr+": who are you" {
			t.Errorf("%+v", i)
		}
	}
}

// TestPoolTarget: the registry is not asked.
func TestPoolTarget(t *testing.T) {
	a := listenAs(t, "a")
	p := openPool(t, PoolConfig{Target: a.Addr().String(), MaxWait: -1})
	for range 3 {
		conn, _, err := p.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		hear(t, conn)
	}
	a.Close()
	_, _, err := p.Dial(t.Context())
	wantNone(t, err, "refused", "target "+a.Addr().String())
	if s := p.Status(); s.Source != "target "+a.Addr().String() || len(s.Instances) != 1 {
		t.Errorf("%+v", s)
	}
}

// TestPoolAtOnce: while instances come, go and die, and many connect at once, each
// gets a connection as long as one is there.
func TestPoolAtOnce(t *testing.T) {
	const stay, dialers, each = 2, 8, 200
	m := newMemory()
	var steady []registry.Instance
	for n := range stay {
		steady = append(steady, listenAs(t, fmt.Sprint(n)).instance())
	}
	m.say(nil, steady...)
	p := openPool(t, PoolConfig{Registry: m, MaxWait: -1})
	conn, _, err := p.Dial(t.Context()) // now it knows them
	if err != nil {
		t.Fatal(err)
	}
	hear(t, conn)
	var all sync.WaitGroup
	stop := make(chan struct{})
	all.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			l := listenAs(t, "x")
			health := []string{"health=READY", "health=STOPPING", "health=NOT_READY"}[n%3]
			m.say(nil, append(steady[:stay:stay], l.instance(health), tcp("dead", "at=127.0.0.1:1"))...)
			l.Close() // it is listed still
			if n%2 == 0 {
				m.say(errors.New("it is down"))
			}
		}
	})
	var callers sync.WaitGroup
	for range dialers {
		callers.Go(func() {
			for range each {
				conn, _, err := p.Dial(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				conn.Close()
				p.Status()
			}
		})
	}
	callers.Wait()
	close(stop)
	all.Wait()
	for _, i := range p.Status().Instances {
		if i.InUse != 0 {
			t.Errorf("%+v is left", i)
		}
	}
}
