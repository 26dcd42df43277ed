package routing

import (
	"fmt"
	"hash/maphash"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// crowd is many instances.
func crowd(n int) []registry.Instance {
	list := make([]registry.Instance, n)
	for k := range list {
		list[k] = registry.Instance{
			ID: registry.NewID(), Service: service, Addr: fmt.Sprintf("10.%d.%d.%d:4100", k>>16, k>>8&255, k&255),
			Kinds: []registry.Kind{registry.KindGRPC, registry.KindStatus}, Health: registry.Ready, Version: "v1.2.3",
			Tags: map[string]string{"zone": fmt.Sprint("z", k%3)}, Started: time.Unix(int64(k), 0),
		}
	}
	return list
}

// chosenOf returns the sorted IDs of what is chosen of a class.
func chosenOf(c Config, seed maphash.Seed, of class, list []registry.Instance) (ids []string) {
	s := &survey{config: &c, seed: seed, asked: map[class]bool{of: true}}
	s.look(list)
	if l := s.chosen[of]; l != nil {
		for _, i := range l.instances() {
			ids = append(ids, i.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// TestChoice: health comes before the zone, and that before the subset.
func TestChoice(t *testing.T) {
	i := func(id string, h registry.Health, tags ...string) registry.Instance {
		return with(registry.Instance{ID: id, Kinds: []registry.Kind{registry.KindGRPC}, Health: h}, tags...)
	}
	http := i("http", registry.Ready)
	http.Kinds = []registry.Kind{registry.KindHTTP}
	list := []registry.Instance{
		i("away", registry.Ready), i("south", registry.Ready, "zone", "south"), i("ends", registry.Stopping, "zone", "north"),
		i("starts", registry.Starting, "zone", "north"), i("ill", registry.NotReady), http,
		i("x1", registry.Ready, "v", "x"), i("x2", registry.Stopping, "v", "x", "zone", "south"), i("y", registry.NotReady, "v", "y"),
		i("w1", registry.Stopping, "v", "w"), i("w2", registry.Stopping, "v", "w", "zone", "south"),
		owned(i("hers", registry.Ready), "alice"),
	}
	for _, tt := range []struct {
		of     class
		config Config
		want   string
	}{
		{plain, Config{}, "[away south]"},
		{plain, Config{Zone: "south"}, "[south]"},
		{plain, Config{Zone: "north"}, "[away south]"},
		{plain, Config{Zone: "nowhere"}, "[away south]"},
		{tagged(tags("v", "x")), Config{Zone: "south"}, "[x1]"},
		{tagged(tags("v", "y")), Config{}, "[]"},
		{tagged(tags("v", "w")), Config{}, "[w1 w2]"},
		{tagged(tags("v", "w")), Config{Zone: "south"}, "[w2]"},
		{tagged(tags("v", "z")), Config{}, "[]"},
		{ownedBy("alice"), Config{}, "[]"},
		{ownedBy("alice"), Config{Personal: true}, "[hers]"},
	} {
		for _, size := range []int{DefaultSubset, -1} {
			tt.config.Subset = size
			for range 10 { // whatever the order
				list = append(list[1:], list[0])
				if got := fmt.Sprint(chosenOf(tt.config, maphash.MakeSeed(), tt.of, list)); got != tt.want {
					t.Errorf("%v with %+v: %s, want %s", tt.of, tt.config, got, tt.want)
				}
			}
		}
	}
}

// TestSubset: each Conn keeps its instances when others come and go, and all
// instances have about as many Conns.
func TestSubset(t *testing.T) {
	list := crowd(200)
	c := Config{Subset: 16}
	counts := map[string]int{}
	for range 1000 {
		seed := maphash.MakeSeed()
		before := chosenOf(c, seed, plain, list)
		if len(before) != 16 || len(slices.Compact(slices.Clone(before))) != 16 {
			t.Fatalf("chosen are %v", before)
		}
		for _, id := range before {
			counts[id]++
		}
		after := chosenOf(c, seed, plain, list[:len(list)-1])
		gone := 0
		for _, id := range before {
			if !slices.Contains(after, id) {
				gone++
			}
		}
		if gone > 1 {
			t.Fatalf("one instance goes, and %d of the Conn's", gone)
		}
	}
	for _, i := range list { // 80 each, with a standard deviation of 9
		if n := counts[i.ID]; n < 35 || n > 125 {
			t.Errorf("%s has %d of 1000 Conns, want about 80", i.ID, n)
		}
	}
	if got := len(chosenOf(Config{Subset: -1}, maphash.MakeSeed(), plain, list)); got != 200 {
		t.Errorf("all are %d", got)
	}
}

func newTestFinder(c Config) *finder {
	c.Service, c.Registry, c.Logger = service, newMemory(), slog.New(slog.DiscardHandler)
	if err := c.check(); err != nil {
		panic(err)
	}
	return newFinder(c, newRoster(), &marker{}, newJournal(c.Logger))
}

func (f *found) ids() (ids []string) {
	for _, m := range f.members {
		ids = append(ids, m.instance.ID)
	}
	slices.Sort(ids)
	return ids
}

// TestLastKnownOfClasses: a class goes when the registry lists others but none of
// it; where it lists nothing that is fit, all stay.
func TestLastKnownOfClasses(t *testing.T) {
	i := func(id string, h registry.Health, tags ...string) registry.Instance {
		return with(registry.Instance{ID: id, Addr: id, Kinds: []registry.Kind{registry.KindGRPC}, Health: h}, tags...)
	}
	f := newTestFinder(Config{Personal: true})
	now := time.Now()
	f.roster.demand.ask(tagged(tags("v", "x")), now)
	f.roster.demand.ask(ownedBy("alice"), now)
	a, x, hers := i("a", registry.Ready), i("x", registry.Ready, "v", "x"), owned(i("hers", registry.Ready), "alice")
	for n, tt := range []struct {
		list []registry.Instance
		want string
	}{
		{nil, "[]"},
		{[]registry.Instance{a, x, hers}, "[a hers x]"},
		{nil, "[a hers x]"},
		{[]registry.Instance{i("a", registry.NotReady)}, "[a hers x]"},
		{[]registry.Instance{x, hers}, "[a hers x]"},
		{[]registry.Instance{a, i("x", registry.NotReady, "v", "x"), hers}, "[a hers x]"},
		{[]registry.Instance{a, hers}, "[a hers]"},
		{[]registry.Instance{a}, "[a]"},
		{nil, "[a]"},
		{[]registry.Instance{i("b", registry.Ready), i("c", registry.Stopping)}, "[b]"},
	} {
		found, _ := f.learn(tt.list)
		if got := fmt.Sprint(found.ids()); got != tt.want {
			t.Errorf("%d: %s, want %s", n, got, tt.want)
		}
	}
}

// TestSameAddress: of two instances at one address the later one lives.
func TestSameAddress(t *testing.T) {
	f := newTestFinder(Config{Personal: true})
	f.roster.demand.ask(ownedBy("alice"), time.Now())
	list := crowd(2)
	list[1].Addr, list[1].Owner = list[0].Addr, "alice"
	found, _ := f.learn(list)
	if len(found.members) != 1 || found.members[0].class != ownedBy("alice") {
		t.Errorf("found %v", found.ids())
	}
	list[0].Started = time.Now()
	for _, restarted := range []bool{true, false} {
		if found, restart := f.learn(list); len(found.members) != 1 || found.members[0].class != plain || restart != restarted {
			t.Errorf("found %v, restarted %v", found.ids(), restart)
		}
	}
	list[0].ID = "new"
	if _, restart := f.learn(list); !restart {
		t.Error("a restart in place goes unnoticed")
	}
}

func TestMembersStay(t *testing.T) {
	f := newTestFinder(Config{})
	list := crowd(10)
	before, _ := f.learn(list)
	before.members[3].calls = 42
	list = slices.Clone(list)
	list[3].Version = "new"
	after, _ := f.learn(list)
	if !slices.Contains(after.members, before.members[3]) {
		t.Error("an instance is not who it was")
	}
	gone, _ := f.learn(list[:1])
	if len(gone.members) != 1 || len(f.roster.all()) != 1 {
		t.Errorf("%d are held on", len(f.roster.all()))
	}
}

// TestMemoryOfTheUnconnected bounds what is held of instances that a Conn is not
// connected to, the list of the registry included.
func TestMemoryOfTheUnconnected(t *testing.T) {
	const n = 10_000
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	f := newTestFinder(Config{})
	before := heap()
	f.learn(crowd(n))
	each := float64(heap()-before) / n
	if t.Logf("%.0f bytes an instance", each); each > 4<<10 {
		t.Errorf("%.0f bytes are held of an instance", each)
	}
	runtime.KeepAlive(f)
}

// BenchmarkUpdate10000 is what one change among 10,000 instances costs.
func BenchmarkUpdate10000(b *testing.B) {
	for name, change := range map[string]func([]registry.Instance){
		"plain": func([]registry.Instance) {},
		"tagged": func(list []registry.Instance) {
			for n := range list {
				list[n].Tags = tags("track", fmt.Sprint("t", n%100), "zone", "north", "arch", strings.Repeat("x", n%7))
			}
		},
	} {
		b.Run(name, func(b *testing.B) {
			f := newTestFinder(Config{Zone: "z1"})
			list := crowd(10_000)
			change(list)
			f.roster.demand.ask(tagged(list[0].Tags), time.Now())
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				list[n%len(list)].Health = registry.Stopping
				f.learn(list)
				list[n%len(list)].Health = registry.Ready
			}
		})
	}
}

// TestSpare: a class whose instances all fail gets others, of any zone, until one
// of its own can be reached again.
func TestSpare(t *testing.T) {
	near, far := startServer(t, "near"), startServer(t, "far")
	here, there := with(near.instance(registry.Ready), "zone", "here"), with(far.instance(registry.Ready), "zone", "there")
	c := dial(t, Config{Registry: newMemory(here, there), Zone: "here"})
	always(t.Context(), t, c, "near")
	near.stop() // and it is listed on
	soon(t.Context(), t, c, "far")
	always(t.Context(), t, c, "far")
	startServerAt(t, "near again", near.addr, 0)
	soon(t.Context(), t, c, "near again")
	for end := time.Now().Add(10 * time.Second); len(c.Instances()) != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("calls go to %v", c.Instances())
		}
	}
	time.Sleep(50 * time.Millisecond) // for calls that had found the other one
	always(t.Context(), t, c, "near again")

	f := newTestFinder(Config{Subset: 4})
	list := crowd(8)
	few, _ := f.learn(list)
	f.roster.demand.reached(plain, false)
	all := f.rechoose()
	if len(few.members) != 4 || len(all.members) != 8 || all.note != few.note {
		t.Errorf("%d, and where these fail %d", len(few.members), len(all.members))
	}
	f.roster.demand.reached(plain, true)
	if last := f.rechoose(); !slices.Equal(last.ids(), few.ids()) {
		t.Errorf("it ends with %v, began with %v", last.ids(), few.ids())
	}
}
