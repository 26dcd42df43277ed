package cache

import (
	"context"

	"github.com/go-easyops/easyops/runtime/cache/caches"
)

// Stats are the figures of a cache. The counts are of the time since it was
// made, clearings included.
type Stats = caches.Stats

// Register lists a cache of another library under name on the pages of all
// servers of the process, to be cleared by clear. clear may be called
// concurrently with all else but itself, and is expected to return when its
// context ends; one that is nil panics. remove takes the cache off the pages.
func Register(name string, clear func(context.Context) error) (remove func()) {
	return caches.Register(name, clear)
}
