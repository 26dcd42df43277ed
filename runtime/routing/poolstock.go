package routing

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// keepLost is how long an instance that is not listed any more is chosen where there
// is no other. Its address may be another's one day, and a plain connection proves
// nothing.
const keepLost = time.Minute

// The pauses after which who waits for an instance tries those again that failed: the
// first one, twice as long each further time, and the longest.
const (
	firstPause = 200 * time.Millisecond
	maxPause   = 3 * time.Second
)

// backend is an instance that a Pool may choose. It is the pool's, and used under
// its lock.
type backend struct {
	instance registry.Instance
	near     bool      // in the own zone, or there is none
	missing  time.Time // since when it is not listed; zero while it is
	inUse    int       // picks that are not done
	picks    uint64
	failures uint64
	lastErr  string

	run      int       // failures without success
	failedAt time.Time // the last one
	until    time.Time // it is left out for that
	trying   time.Time // when a pick that shall tell whether it works began; zero for none
}

// out reports whether it failed and should be left out.
func (b *backend) out(now time.Time) bool {
	return b.run > 0 && (now.Before(b.until) || !b.trying.IsZero() && now.Sub(b.trying) < trialPatience)
}

// again returns when the instance may be tried once more by who found no other.
func (b *backend) again() time.Time {
	if b.run == 0 {
		return b.failedAt
	}
	return b.failedAt.Add(min(maxPause, firstPause<<min(b.run-1, 10)))
}

// fails takes in that a pick failed that began at some time. What began before the
// last failure is the same event. It reports whether that is news.
func (b *backend) fails(began, now time.Time) (news bool) {
	b.failures++
	if began.Before(b.failedAt) {
		return false
	}
	b.failedAt, b.trying = now, time.Time{}
	b.until = now.Add(min(maxEjection, firstEjection<<min(b.run, 10)))
	b.run++
	return b.run == 1
}

// works takes in that a pick succeeded that began at some time, and reports whether
// that is news.
func (b *backend) works(began time.Time) (news bool) {
	if b.run == 0 || began.Before(b.failedAt) {
		return false
	}
	b.run, b.until, b.trying = 0, time.Time{}, time.Time{}
	return true
}

// The tiers of instances. Those of one are chosen where none of those before it can
// be.
const (
	tierReady = iota
	tierStopping
	tierLost // neither, but they were known
	tiers
)

// stock is the instances that a Pool chooses from. Its methods are called under the
// lock of the pool.
type stock struct {
	kind  registry.Kind
	zone  string
	known map[string]*backend
	tiers [tiers]tier
}

// tier is instances that are as good as each other but for the zone.
type tier struct{ all, near []*backend }

func (t *tier) add(b *backend) {
	t.all = append(t.all, b)
	if b.near {
		t.near = append(t.near, b)
	}
}

func newStock(c *PoolConfig) stock {
	return stock{kind: c.Kind, zone: c.Zone, known: map[string]*backend{}}
}

// fix makes one instance all there is, of which only the address is known.
func (s *stock) fix(addr string) {
	b := &backend{instance: registry.Instance{Addr: addr}, near: true}
	s.known[addr] = b
	s.tiers[tierReady].add(b)
}

// learn takes in what the registry lists, and says for people what that is.
func (s *stock) learn(listed []registry.Instance, now time.Time) string {
	before := s.known
	s.known, s.tiers = make(map[string]*backend, len(listed)), [tiers]tier{}
	var count census
	fit := count.choose(s.kind, listed)
	for _, i := range fit {
		key := i.ID + "\x00" + i.Addr
		b := before[key]
		if b == nil && rankOf(i.Health) == unfit {
			continue
		}
		if b == nil {
			b = &backend{}
		}
		b.instance, b.near, b.missing = *i, s.zone == "" || i.Tags[zoneTag] == s.zone, time.Time{}
		s.known[key] = b
		s.tiers[tierOf(i.Health)].add(b)
	}
	s.keep(before, now)
	return count.text(len(listed), s.kind)
}

func tierOf(h registry.Health) int {
	switch h {
	case registry.Ready:
		return tierReady
	case registry.Stopping:
		return tierStopping
	}
	return tierLost
}

// keep takes over those that were known and are not listed, where nothing else is fit.
func (s *stock) keep(before map[string]*backend, now time.Time) {
	if len(s.tiers[tierReady].all)+len(s.tiers[tierStopping].all) > 0 {
		return
	}
	for key, b := range before {
		if s.known[key] == nil {
			if b.missing.IsZero() {
				b.missing = now
			}
			s.known[key] = b
			s.tiers[tierLost].add(b)
		}
	}
}

// choose returns the instance that a pick should go to, or nil. Those that are spent
// are no choice; spent may be nil.
func (s *stock) choose(now time.Time, spent func(*backend) bool) *backend {
	for n := range s.tiers {
		t := &s.tiers[n]
		if spent == nil && n != tierLost && !slices.ContainsFunc(t.all, func(b *backend) bool { return b.run > 0 }) {
			if b := lessUsed(orElse(t.near, t.all)); b != nil {
				return b
			}
			continue
		}
		if b := t.choose(now, spent); b != nil {
			return b
		}
	}
	return nil
}

// choose is for tiers of which some are no choice, or fail.
func (t *tier) choose(now time.Time, spent func(*backend) bool) *backend {
	var best [4][]*backend
	out := t.out(now)
	for _, b := range t.all {
		if spent != nil && spent(b) || !b.missing.IsZero() && now.Sub(b.missing) > keepLost {
			continue
		}
		rank := 0
		if out[b] {
			rank = 2
		}
		if !b.near {
			rank++
		}
		best[rank] = append(best[rank], b)
	}
	for _, some := range best {
		if len(some) > 0 {
			return lessUsed(some)
		}
	}
	return nil
}

// out returns the instances that are left out, never more than half: of more than
// that, those that are so for longest.
func (t *tier) out(now time.Time) map[*backend]bool {
	var out []*backend
	for _, b := range t.all {
		if b.out(now) {
			out = append(out, b)
		}
	}
	if most := allowed(len(t.all)); len(out) > most {
		slices.SortStableFunc(out, func(a, b *backend) int { return b.until.Compare(a.until) })
		out = out[:most]
	}
	set := make(map[*backend]bool, len(out))
	for _, b := range out {
		set[b] = true
	}
	return set
}

// lessUsed returns the one of two random instances that is less in use, or nil where
// there is none at all.
func lessUsed(some []*backend) *backend {
	n := len(some)
	if n == 0 {
		return nil
	}
	if n == 1 {
		return some[0]
	}
	k := rand.IntN(n)
	a, b := some[k], some[(k+1+rand.IntN(n-1))%n]
	if b.inUse < a.inUse {
		return b
	}
	return a
}

func orElse(some, all []*backend) []*backend {
	if len(some) > 0 {
		return some
	}
	return all
}

// status describes the instances.
func (s *stock) status() []PoolInstance {
	var all []PoolInstance
	for _, b := range s.known {
		all = append(all, PoolInstance{
			Instance: b.instance, InUse: b.inUse, Picks: b.picks, Failures: b.failures,
			LastError: b.lastErr, OutUntil: b.until, Lost: !b.missing.IsZero(),
		})
	}
	slices.SortFunc(all, func(a, b PoolInstance) int {
		return cmp.Or(cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.ID, b.ID))
	})
	return all
}
