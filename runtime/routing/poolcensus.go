package routing

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-easyops/easyops/runtime/registry"
)

// census counts what is listed.
type census struct {
	health                [len(healths)]int // of those that count
	others, owned, tagged int
	otherKinds            []string // a few of those that the others are of
}

// choose returns those that a pool may choose, whatever their health. Of those with
// one address it is the one that was started last: the others have died there and are
// still listed.
func (c *census) choose(kind registry.Kind, listed []registry.Instance) []*registry.Instance {
	at := make(map[string]int, len(listed))
	fit := make([]*registry.Instance, 0, len(listed))
	for n := range listed {
		i := &listed[n]
		if !c.count(kind, i) {
			continue
		}
		if k, known := at[i.Addr]; !known {
			at[i.Addr] = len(fit)
			fit = append(fit, i)
		} else if i.Started.After(fit[k].Started) {
			fit[k] = i
		}
	}
	return fit
}

// count reports whether the instance is one for anybody, and of the kind.
func (c *census) count(kind registry.Kind, i *registry.Instance) bool {
	switch {
	case !slices.Contains(i.Kinds, kind):
		c.others++
		c.noteKinds(i.Kinds)
	case i.Owner != "":
		c.owned++
	case len(appendTags(nil, i.Tags)) > 0:
		c.tagged++
	default:
		if n := slices.Index(healths[:], i.Health); n >= 0 {
			c.health[n]++
		}
		return true
	}
	return false
}

// noteKinds notes what an instance is instead.
func (c *census) noteKinds(kinds []registry.Kind) {
	const few = 3
	for _, k := range kinds {
		if k != registry.KindStatus && len(c.otherKinds) < few && !slices.Contains(c.otherKinds, string(k)) {
			c.otherKinds = append(c.otherKinds, string(k))
		}
	}
}

func (c *census) text(all int, kind registry.Kind) string {
	if all == 0 {
		return "no instance"
	}
	text := []string{fmt.Sprint(all)}
	add := func(n int, what string) {
		if n > 0 {
			text = append(text, fmt.Sprintf("%d %s", n, what))
		}
	}
	for n, h := range healths {
		add(c.health[n], string(h))
	}
	add(c.others, strings.TrimSuffix(fmt.Sprintf("not of kind %s but %s", kind, strings.Join(c.otherKinds, " and ")), " but "))
	add(c.owned, "with an owner, which get no such connections")
	add(c.tagged, "with tags, which get no such connections")
	return strings.Join(text, ", ")
}
