package routing

import (
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// finder finds the instances of one Conn. It outlives the resolvers that it
// makes, because gRPC drops these when a connection is idle; what they knew is
// kept.
type finder struct {
	config   Config
	roster   *roster
	marker   *marker
	journal  *journal
	retryNow func() // connects without waiting for the backoff
	seed     maphash.Seed

	mu       sync.Mutex
	listed   []registry.Instance // what the registry said last
	listedAt time.Time           // zero before that
	chosen   map[class][]registry.Instance
	places   []place // of these, one for each address
	found    *found
	failing  error // why the registry cannot be asked, or nil
}

// found is what the balancer is told.
type found struct {
	note    string
	members []*member
	index   *index
	spare   map[*member]bool // for each of the members
}

// same reports whether that is no news for the balancer, but for the note. What else
// is known of a member is in it already.
func (f *found) same(o *found) bool {
	return o != nil && maps.Equal(f.spare, o.spare) && maps.Equal(f.index.listed, o.index.listed)
}

func newFinder(c Config, r *roster, m *marker, j *journal) *finder {
	return &finder{config: c, roster: r, marker: m, journal: j, seed: maphash.MakeSeed(), found: &found{index: &index{}}}
}

func (f *finder) instances() (all []registry.Instance) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.places {
		all = append(all, p.instance)
	}
	return all
}

// learn notes what is listed, and chooses. It reports whether one of the chosen
// instances was restarted in its place.
func (f *finder) learn(listed []registry.Instance) (now *found, restart bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failing != nil {
		f.failing = nil
		f.journal.info("registry answers again", "service", f.config.Service, "registry", f.config.source())
	}
	f.listed, f.listedAt = listed, time.Now()
	return f.chooseLocked()
}

// rechoose chooses anew from what is known.
func (f *finder) rechoose() *found {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listedAt.IsZero() {
		return f.found
	}
	note := f.found.note
	now, _ := f.chooseLocked()
	now.note = note
	return now
}

func (f *finder) fail(err error) *found {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failing == nil {
		f.journal.warn("registry fails, going on with the instances that are known", "service", f.config.Service, "err", err)
	}
	f.failing = err
	f.found = &found{note: err.Error(), members: f.found.members, index: f.found.index, spare: f.found.spare}
	return f.found
}

func (f *finder) chooseLocked() (now *found, restart bool) {
	asked, _ := f.roster.demand.current(time.Now())
	s := &survey{config: &f.config, seed: f.seed, asked: asked, down: f.roster.demand.unreached()}
	s.look(f.listed)
	index, before := f.keepLocked(s), f.places
	var places []place
	for c, list := range f.chosen {
		for _, i := range list {
			places = append(places, place{class: c, instance: i})
		}
	}
	for c, l := range s.spare {
		for _, i := range l.instances() {
			places = append(places, place{c, i, true})
		}
	}
	f.places = unique(places)
	f.leaveOut(index)
	members := f.roster.set(f.places)
	f.found = &found{
		note:    fmt.Sprintf("%s lists %s", f.config.source(), s.count(len(f.listed))),
		members: members, index: index, spare: make(map[*member]bool, len(members)),
	}
	for n, m := range members {
		f.found.spare[m] = f.places[n].spare
	}
	return f.found, restarted(before, f.places)
}

// keepLocked takes over what was chosen of each class. Where nothing is, the last
// known ones are better than nothing: all of them if the registry lists nothing
// that is fit, otherwise the plain ones, and those of which the registry lists
// some.
func (f *finder) keepLocked(s *survey) *index {
	chosen := map[class][]registry.Instance{}
	for c, l := range s.chosen {
		if len(l.best) > 0 {
			chosen[c] = l.instances()
		}
	}
	for c, last := range f.chosen {
		_, listed := s.listed[c]
		if chosen[c] != nil || c != plain && (!s.asked[c] || s.fit && !listed) {
			continue
		}
		chosen[c] = last
		s.listed[c] = true
	}
	delete(s.listed, plain)
	f.chosen = chosen
	return &index{s.listed}
}

// leaveOut has calls not wait for classes whose instances all have an address
// that is another one's by now.
func (f *finder) leaveOut(x *index) {
	there := map[class]bool{}
	for _, p := range f.places {
		there[p.class] = true
	}
	for c := range f.chosen {
		if !there[c] {
			delete(x.listed, c)
		}
	}
}

// unique leaves one instance for each address, the one that was started last: the
// others have died there and are still listed.
func unique(places []place) []place {
	slices.SortStableFunc(places, func(a, b place) int { return b.instance.Started.Compare(a.instance.Started) }) // the spare stay behind
	seen := make(map[string]bool, len(places))
	return slices.DeleteFunc(places, func(p place) bool {
		known := seen[p.instance.Addr]
		seen[p.instance.Addr] = true
		return known
	})
}

// restarted reports whether one of the instances took the address of another
// one that was known before.
func restarted(before, now []place) bool {
	ids := make(map[string]string, len(before)) // by address
	for _, p := range before {
		ids[p.instance.Addr] = p.instance.ID
	}
	return slices.ContainsFunc(now, func(p place) bool {
		id, known := ids[p.instance.Addr]
		return known && id != p.instance.ID
	})
}

var errNoAnswer = errors.New("no answer yet")
