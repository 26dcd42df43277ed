package routing

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/go-easyops/easyops/runtime/registry"
)

// DefaultSubset is how many instances of a class a Conn connects to where
// [Config.Subset] is zero.
const DefaultSubset = 16

// survey is one look at all that the registry lists, of which there may be ten
// thousand, several times a second: nothing is copied or sorted but what is
// chosen.
type survey struct {
	config *Config
	seed   maphash.Seed
	asked  map[class]bool // the classes to choose from, but for plain
	down   map[class]bool // classes of which none that was chosen can be reached

	chosen map[class]*shortlist
	spare  map[class]*shortlist // for those that are down: some others, of any zone
	listed map[class]bool       // classes with an instance that speaks gRPC, but for plain
	health [4]int
	owned  int  // that have an owner
	tagged int  // that have tags and no owner
	fit    bool // an instance of any class is
}

// look goes through the list.
func (s *survey) look(list []registry.Instance) {
	s.chosen, s.spare = map[class]*shortlist{plain: {}}, map[class]*shortlist{}
	for c := range s.asked {
		s.chosen[c] = &shortlist{}
	}
	for c := range s.down {
		s.spare[c] = &shortlist{}
	}
	s.listed = map[class]bool{}
	name := make([]byte, 0, 256)
	for n := range list {
		i := &list[n]
		s.tally(i.Health)
		if !slices.Contains(i.Kinds, registry.KindGRPC) {
			continue
		}
		if i.Owner != "" {
			s.owned++
			if !s.config.Personal {
				continue
			}
		}
		if name = appendClass(name[:0], i); i.Owner == "" && len(name) > 0 {
			s.tagged++
		}
		fit := s.consider(name, i)
		if before, known := s.listed[class(name)]; len(name) > 0 && (!known || fit && !before) {
			s.listed[class(name)] = fit
		}
	}
}

// consider puts an instance on the list of its class, if it is among the best. It
// reports whether it is fit at all.
func (s *survey) consider(name []byte, i *registry.Instance) (fit bool) {
	rank := rankOf(i.Health)
	if rank == unfit {
		return false
	}
	s.fit = true
	if l := s.spare[class(name)]; l != nil {
		l.add(rank, candidate{^s.hash(i), i}, s.config.Subset)
	}
	if s.config.Zone != "" && i.Tags[zoneTag] != s.config.Zone {
		rank++
	}
	if l := s.chosen[class(name)]; l != nil && (len(l.best) == 0 || rank <= l.rank) {
		l.add(rank, candidate{s.hash(i), i}, s.config.Subset)
	}
	return true
}

func (s *survey) hash(i *registry.Instance) uint64 { return maphash.String(s.seed, i.ID) }

const unfit = -1

// rankOf says how good an instance is; less is better. Those that are READY go
// before those that are STOPPING, which still serve for a while. Among these the
// own zone goes before others.
func rankOf(h registry.Health) int {
	switch h {
	case registry.Ready:
		return 0
	case registry.Stopping:
		return 2
	}
	return unfit
}

// healths is the order of the counts by health.
var healths = [...]registry.Health{registry.Ready, registry.Stopping, registry.NotReady, registry.Starting}

func (s *survey) tally(h registry.Health) {
	if n := slices.Index(healths[:], h); n >= 0 {
		s.health[n]++
	}
}

// count says how many instances are listed, by health, and who takes only some
// calls.
func (s *survey) count(all int) string {
	if all == 0 {
		return "no instance"
	}
	text := fmt.Sprintf("%d", all)
	for n, h := range healths {
		if s.health[n] > 0 {
			text += fmt.Sprintf(", %d %s", s.health[n], h)
		}
	}
	if s.owned > 0 {
		text += fmt.Sprintf(", %d for calls of their owner only (-easyops.personal)", s.owned)
	}
	if s.tagged > 0 {
		text += fmt.Sprintf(", %d for calls with their tags only", s.tagged)
	}
	return text
}

type candidate struct {
	hash     uint64
	instance *registry.Instance
}

// shortlist has the best instances of one class: those of the best rank, and
// among these the ones with the lowest hashes. A hash is of an instance and a
// Conn, so that each Conn has others, keeps them when others come and go, and all
// instances have about as many Conns (rendezvous hashing; gRFC A68).
type shortlist struct {
	rank  int
	best  []candidate
	worst int // of the best, where they are as many as may be
}

// add takes an instance in, at the cost of a worse one where there are as many as
// may be; a negative size means no bound.
func (l *shortlist) add(rank int, c candidate, size int) {
	switch {
	case len(l.best) > 0 && rank > l.rank:
		return
	case len(l.best) > 0 && rank < l.rank:
		l.best = l.best[:0]
	}
	l.rank = rank
	if size < 0 || len(l.best) < size {
		l.best = append(l.best, c)
		if len(l.best) != size {
			return
		}
	} else if l.better(c, l.best[l.worst]) {
		l.best[l.worst] = c
	} else {
		return
	}
	for n := range l.best {
		if l.better(l.best[l.worst], l.best[n]) {
			l.worst = n
		}
	}
}

func (l *shortlist) better(a, b candidate) bool {
	return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.instance.ID, b.instance.ID)) < 0
}

// instances returns copies of what is on the list.
func (l *shortlist) instances() []registry.Instance {
	all := make([]registry.Instance, len(l.best))
	for n, c := range l.best {
		all[n] = *c.instance
	}
	return all
}
