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
var notify struct {
	sync.Mutex
	watcher  *fsnotify.Watcher
	done     chan struct{}
	handlers map[*handler]struct{}
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
	notify.Lock()
	defer notify.Unlock()
	if notify.watcher == nil {
		w, err := fsnotify.NewWatcher()
		if err != nil {
			return fmt.Errorf("%w: on Linux, fs.inotify.max_user_instances may be too low", err)
		}
		notify.watcher, notify.done = w, make(chan struct{})
		notify.handlers = map[*handler]struct{}{}
		go dispatch(w, notify.done)
	}
	notify.handlers[h] = struct{}{}
	return notify.watcher.Add(h.dir)
}

func unwatch(h *handler) {
	notify.Lock()
	if _, ok := notify.handlers[h]; !ok {
		notify.Unlock()
		return
	}
	delete(notify.handlers, h)
	for other := range notify.handlers {
		if other.dir == h.dir {
			notify.Unlock()
			return
		}
	}
	w, done := notify.watcher, notify.done
	last := len(notify.handlers) == 0
	if last {
		notify.watcher = nil
	} else {
		_ = w.Remove(h.dir) // it may be gone
	}
	notify.Unlock()
	if last {
		w.Close()
		<-done
	}
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
	notify.Lock()
	handlers := slices.Collect(maps.Keys(notify.handlers))
	notify.Unlock()
	for _, h := range handlers {
		switch {
		case path == "" || path == h.dir:
			h.handle("")
		case filepath.Dir(path) == h.dir:
			h.handle(filepath.Base(path))
		}
	}
}
