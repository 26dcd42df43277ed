package routing

import (
	"testing"
	"testing/synctest"

	"github.com/go-easyops/easyops/runtime/registry"
)

// TestLessUsed: the less loaded of two, and nothing else is touched.
func TestLessUsed(t *testing.T) {
	idle, busy, other := &backend{}, &backend{inUse: 3}, &backend{}
	list := []*backend{busy, other}
	for _, c := range []struct {
		of   []*backend
		want *backend
	}{
		{nil, nil},
		{list[:1], busy},
		{[]*backend{busy, idle}, idle},
		{[]*backend{idle, busy}, idle},
	} {
		if got := lessUsed(c.of); got != c.want {
			t.Errorf("of %v: %v, want %v", c.of, got, c.want)
		}
	}
	if list[1] != other {
		t.Error("it writes behind the end of its list")
	}
}

// TestPoolInUse: what is not done counts, also where the instance is not listed any more.
func TestPoolInUse(t *testing.T) {
	t.Parallel()
	inBubble(t, PoolConfig{}, []registry.Instance{tcp("a")}, func(t *testing.T, b bubble) {
		k, err := b.Pick(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		conn, _, err := b.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b.say(nil, tcp("b"))
		if n := b.InUse(); n != 2 {
			t.Errorf("%d are in use, want 2", n)
		}
		k.Done(nil)
		k.Done(nil)
		conn.Close()
		conn.Close()
		synctest.Wait()
		if n := b.InUse(); n != 0 {
			t.Errorf("%d are in use at the end", n)
		}
	})
}
