package routing

import (
	"slices"
	"strings"

	"github.com/go-easyops/easyops/runtime/registry"
)

// class is a kind of instances that are as good as each other for a call: those
// of an owner, those with a set of tags, or the plain ones, that have neither.
type class string

// plain is the class of instances without an owner and without tags.
const plain class = ""

const (
	ownerMark = "owner\x00"
	tagsMark  = "tags\x00"
	// zoneTag is where an instance runs. It is for choosing among the instances
	// of a class, so it makes none.
	zoneTag = "zone"
)

// ownedBy returns the class of the instances of a user.
func ownedBy(user string) class { return class(ownerMark + user) }

// tagged returns the class of the instances with these tags.
func tagged(tags map[string]string) class { return class(appendTags(nil, tags)) }

// appendTags appends the name of the class of instances with these tags, which
// is nothing where there are none.
func appendTags(name []byte, tags map[string]string) []byte {
	var few [8]string // most instances have no more, and need no memory
	keys := few[:0]
	for k := range tags {
		if k != zoneTag {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return name
	}
	slices.Sort(keys)
	name = append(name, tagsMark...)
	for _, k := range keys {
		name = append(append(name, k...), '=')
		name = append(append(name, tags[k]...), 0)
	}
	return name
}

// appendClass appends the name of the class of an instance.
func appendClass(name []byte, i *registry.Instance) []byte {
	if i.Owner != "" {
		return append(append(name, ownerMark...), i.Owner...)
	}
	return appendTags(name, i.Tags)
}

// String names the class for people.
func (c class) String() string {
	if owner, ok := strings.CutPrefix(string(c), ownerMark); ok {
		return "owner " + owner
	}
	if tags, ok := strings.CutPrefix(string(c), tagsMark); ok {
		return "tags " + strings.ReplaceAll(strings.TrimSuffix(tags, "\x00"), "\x00", ",")
	}
	return "plain"
}

func (c class) isTags() bool { return strings.HasPrefix(string(c), tagsMark) }

// index is what the balancer is told of the classes that the registry lists. It
// is not changed once it is made.
type index struct {
	listed map[class]bool // but for plain: whether calls can go there
}

type indexKey struct{}

// has reports whether instances of the class are listed that calls can go to.
func (x *index) has(c class) bool { return x != nil && x.listed[c] }

// maxSets is how many sets of tags an error names.
const maxSets = 8

// tags names the sets of tags that are listed.
func (x *index) tags() string {
	var sets []string
	if x != nil {
		for c, fit := range x.listed {
			if fit && c.isTags() {
				sets = append(sets, strings.TrimPrefix(c.String(), "tags "))
			}
		}
	}
	if len(sets) == 0 {
		return "no instance has tags"
	}
	slices.Sort(sets)
	more := ""
	if len(sets) > maxSets {
		sets, more = sets[:maxSets], " and others"
	}
	return "there are " + strings.Join(sets, "; ") + more
}
