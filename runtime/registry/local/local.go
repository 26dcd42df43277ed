// Package local is a registry for one machine and one user: a directory in
// which each server process has a socket, over which it says what it serves.
// An entry lives as long as its process, whatever ends that. No server of its
// own is needed, and nothing is polled: directory and sockets announce changes.
package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// settleTime is how long the first answer of a watch waits for processes that
// do not say what they serve.
const settleTime = 200 * time.Millisecond

func init() {
	registry.RegisterDriver("local", func(url string, logger *slog.Logger) (registry.Registry, error) {
		_, dir, named := strings.Cut(url, ":")
		if named && dir == "" {
			return nil, fmt.Errorf("registry %q names no directory: use local, or local:DIR", url)
		}
		return Open(dir, logger)
	})
}

// Registry is the local registry. Make it with [Open].
type Registry struct {
	publish string   // the directory for our own entries
	read    []string // the directories for entries of others
	logger  *slog.Logger

	answered atomic.Pointer[time.Time] // when a directory was last readable
}

// Open returns the registry in the directory, which is made when it is needed,
// for its owner alone. Where it exists it must be a directory of this user's,
// that nobody else can write to, and not a symbolic link: Register and Watch
// say so if not.
//
// Without a directory it is the user's own: easyops in $XDG_RUNTIME_DIR, else
// easyops-UID in the temporary directory, of mode 0700. Entries are read from both, because
// not all programs of a user have the same environment.
func Open(dir string, logger *slog.Logger) (*Registry, error) {
	if logger == nil {
		logger = slog.Default()
	}
	if dir == "" {
		dirs := userDirs()
		return &Registry{publish: dirs[0], read: dirs, logger: logger}, nil
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("local registry in %s: %w", dir, err)
	}
	return &Registry{publish: abs, read: []string{abs}, logger: logger}, nil
}

// String implements [registry.Registry].
func (r *Registry) String() string { return "local registry in " + r.publish }

// LastAnswer implements [registry.Registry]: now, while one of the directories
// can be read.
func (r *Registry) LastAnswer() time.Time {
	for _, dir := range r.read {
		if f, err := os.Open(dir); err == nil {
			f.Close()
			now := time.Now()
			r.answered.Store(&now)
			break
		}
	}
	if at := r.answered.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// Close implements [registry.Registry].
func (r *Registry) Close() error { return nil }

// Register implements [registry.Registry].
func (r *Registry) Register(ctx context.Context, instances []registry.Instance) (registry.Lease, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l, err := newLease(r.publish, instances, r.logger)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r, err)
	}
	return l, nil
}

// Watch implements [registry.Registry].
func (r *Registry) Watch(ctx context.Context, service string, update func([]registry.Instance, error)) {
	changed := make(chan struct{}, 1)
	hubs := make([]*hub, len(r.read))
	for n, dir := range r.read {
		hubs[n] = acquireHub(dir, r.logger)
		hubs[n].subscribe(changed)
		defer releaseHub(hubs[n], changed)
	}
	settle(ctx, hubs)

	var last []registry.Instance
	var lastErr error
	for first := true; ctx.Err() == nil; first = false {
		list, err := r.collect(hubs, service)
		switch {
		case err != nil && (lastErr == nil || err.Error() != lastErr.Error()):
			update(nil, err)
		case err == nil && (first || lastErr != nil || !reflect.DeepEqual(list, last)):
			update(list, nil)
			last = list
		}
		lastErr = err
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

// settle waits until all processes that are listed now have said what they
// serve, or settleTime is over.
func settle(ctx context.Context, hubs []*hub) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for _, h := range hubs {
		h.settle(ctx)
	}
}

// collect returns what all directories list. One that cannot be read counts
// only where none can.
func (r *Registry) collect(hubs []*hub, service string) (list []registry.Instance, err error) {
	var errs []error
	for _, h := range hubs {
		found, err := h.instances(service)
		if err != nil {
			errs = append(errs, err)
		}
		list = append(list, found...)
	}
	if len(errs) == len(hubs) {
		return nil, errors.Join(errs...)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].ID < list[j].ID })
	return list[:min(len(list), registry.MaxInstances)], nil
}
