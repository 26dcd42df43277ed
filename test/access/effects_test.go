package access

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/cache"
)

const cacheName = "users"

// cleared counts how often the cache was, which all servers of the process share.
var (
	cleared  atomic.Int64
	register = sync.OnceFunc(func() {
		cache.Register(cacheName, func(context.Context) error {
			cleared.Add(1)
			return nil
		})
	})
)

func nothing(*testing.T, *running) {}
func leave(*testing.T, cell)       {}

// effects are what the POSTs of pages are for. A page that answers POST and is
// not here fails the matrix.
var effects = map[string]effect{
	"/internal/pleaseshutdown": {ends: true, prepare: nothing, undo: leave, await: func(t *testing.T, r *running) {
		select {
		case <-r.stopped:
		case <-time.After(10 * time.Second):
			t.Error("it does not stop")
		}
	}},
	"/internal/parameters": {
		body: "access.limit=2", prepare: nothing, await: nothing,
		undo: func(t *testing.T, c cell) {
			q := c.running.question("operator", "127.0.0.1", "pages", http.MethodPost, "/internal/parameters")
			q.Body = "access.limit=1"
			a := asker{}
			defer a.close()
			if got := a.ask(q); got.Code != http.StatusOK {
				t.Fatalf("undo: %v", got)
			}
		},
	},
	"/internal/clearcache":        {prepare: nothing, await: nothing, undo: leave},
	"/internal/clearcache/{name}": {prepare: nothing, await: nothing, undo: leave},
	"/internal/unregister": {
		prepare: nothing,
		await: func(t *testing.T, r *running) {
			for deadline := time.Now().Add(10 * time.Second); r.listed(t) && time.Now().Before(deadline); {
				time.Sleep(5 * time.Millisecond)
			}
		},
		undo: func(t *testing.T, c cell) {
			q := c.running.question("operator", "127.0.0.1", "pages", http.MethodPost, "/internal/unregister?undo")
			a := asker{}
			defer a.close()
			if got := a.ask(q); got.Code != http.StatusOK {
				t.Fatalf("undo: %v", got)
			}
			c.awaitListed(t)
		},
	},
}

// state is what POSTs change, seen from inside and not by the pages.
func (r *running) state(t *testing.T) string {
	t.Helper()
	select {
	case <-r.stopped:
		return "stopped"
	default:
	}
	return fmt.Sprintf("listed %t, limit %d, cleared %d times", r.listed(t), r.limit.Get(), cleared.Load())
}
