package local

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// notify is what watches directories for this process. It is shared because a
// user has only some hundred watchers on Linux; it exists while it is used.
//
// fsnotify's calls are made without the lock that dispatch takes: the watcher
// may hold its own lock while it waits for dispatch.
var notify struct {
	ops     sync.Mutex // held while what is watched changes
	watcher *fsnotify.Watcher
	done    chan struct{}

	mu       sync.Mutex
	handlers map[*handler]struct{} // changes under both locks
}

type handler struct {
	dir    string
	handle func(name string)
}

// watchDir calls handle with the name of each file in the directory that comes
// or goes, and with "" when that cannot be told: look at everything then, and
// at the directory itself, which may be gone and has to be watched anew. The
// calls must not wait; one may be under way after the stop function.
func watchDir(dir string, handle func(name string)) (stop func(), err error) {
	h := &handler{dir: dir, handle: handle}
	if err := watch(h); err != nil {
		unwatch(h)
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	return sync.OnceFunc(func() { unwatch(h) }), nil
}

func watch(h *handler) error {
	notify.ops.Lock()
	defer notify.ops.Unlock()
	if notify.watcher == nil {
		w, err := fsnotify.NewWatcher()
		if err != nil {
			return fmt.Errorf("%w: on Linux, fs.inotify.max_user_instances may be too low", err)
		}
		notify.watcher, notify.done = w, make(chan struct{})
		go dispatch(w, notify.done)
	}
	setHandler(h, true)
	return notify.watcher.Add(h.dir)
}

func unwatch(h *handler) {
	notify.ops.Lock()
	defer notify.ops.Unlock()
	if _, ok := notify.handlers[h]; !ok {
		return
	}
	setHandler(h, false)
	switch {
	case len(notify.handlers) == 0:
		notify.watcher.Close()
		<-notify.done
		notify.watcher = nil
	case !isWatched(h.dir):
		_ = notify.watcher.Remove(h.dir) // it may be gone
	}
}

// setHandler adds or removes a handler. The caller holds notify.ops.
func setHandler(h *handler, on bool) {
	notify.mu.Lock()
	defer notify.mu.Unlock()
	if !on {
		delete(notify.handlers, h)
		return
	}
	if notify.handlers == nil {
		notify.handlers = map[*handler]struct{}{}
	}
	notify.handlers[h] = struct{}{}
}

// isWatched reports whether a handler is for the directory. The caller holds
// notify.ops.
func isWatched(dir string) bool {
	for h := range notify.handlers {
		if h.dir == dir {
			return true
		}
	}
	return false
}

func dispatch(w *fsnotify.Watcher, done chan struct{}) {
	defer close(done)
	for {
		select {
		case e, ok := <-w.Events:
			if !ok {
				return
			}
			if e.Op&(fsnotify.Create|fsnotify.Remove|fsnotify.Rename) != 0 {
				dispatchEvent(e.Name)
			}
		case _, ok := <-w.Errors:
			if !ok {
				return
			}
			dispatchEvent("") // events were lost
		}
	}
}

// dispatchEvent tells the handlers of the directory that the path is in, or is.
func dispatchEvent(path string) {
	notify.mu.Lock()
	handlers := slices.Collect(maps.Keys(notify.handlers))
	notify.mu.Unlock()
	for _, h := range handlers {
		switch {
		case path == "" || path == h.dir:
			h.handle("")
		case filepath.Dir(path) == h.dir:
			h.handle(filepath.Base(path))
		}
	}
}
