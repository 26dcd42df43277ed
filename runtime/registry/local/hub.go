package local

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

const (
	tempSuffix = ".tmp"
	tempAge    = time.Minute // after which a temporary file was left behind
	retryTime  = time.Second // between attempts to read a directory that fail
	// rereadTime is how often a directory is opened anew without a reason: what
	// tells of its files can miss some, such as where it was removed and made
	// again at the same moment.
	rereadTime = 3 * time.Second
)

var errNotRead = errors.New("the directory has not been read yet")

// hubs are the directories that this process reads, each once however many
// watches it has.
var hubs struct {
	sync.Mutex
	m map[string]*hub
}

// hub knows what the processes of a directory serve.
type hub struct {
	dir     string
	logger  *slog.Logger
	users   int             // guarded by hubs
	life    context.Context // ends with the last user
	cancel  context.CancelFunc
	done    chan struct{}
	started chan struct{} // closed when the directory was read, or could not be
	reopen  chan struct{}
	peers   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	err    error // why the directory cannot be read
	known  map[string]*peer
	notify map[chan<- struct{}]struct{}
}

func acquireHub(dir string, logger *slog.Logger) *hub {
	hubs.Lock()
	defer hubs.Unlock()
	h := hubs.m[dir]
	if h == nil {
		ctx, cancel := context.WithCancel(context.Background())
		h = &hub{
			dir:     dir,
			logger:  logger,
			life:    ctx,
			cancel:  cancel,
			done:    make(chan struct{}),
			started: make(chan struct{}),
			reopen:  make(chan struct{}, 1),
			err:     errNotRead,
			known:   map[string]*peer{},
			notify:  map[chan<- struct{}]struct{}{},
		}
		if hubs.m == nil {
			hubs.m = map[string]*hub{}
		}
		hubs.m[dir] = h
		go h.run()
	}
	h.users++
	return h
}

// releaseHub ends what nobody uses any more, and waits for its end.
func releaseHub(h *hub, c chan<- struct{}) {
	h.mu.Lock()
	delete(h.notify, c)
	h.mu.Unlock()

	hubs.Lock()
	h.users--
	last := h.users == 0
	if last {
		delete(hubs.m, h.dir)
	}
	hubs.Unlock()
	if last {
		h.cancel()
		<-h.done
	}
}

// subscribe makes the hub send to the channel, if it has room, after each
// change.
func (h *hub) subscribe(c chan<- struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.notify[c] = struct{}{}
}

// instances returns what is known of a service, or why nothing can be.
func (h *hub) instances(service string) (list []registry.Instance, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.known {
		for _, i := range p.instances {
			if i.Service == service {
				list = append(list, i)
			}
		}
	}
	return list, h.err
}

// settle waits until every process that has a socket now has said what it
// serves, or the context ends.
func (h *hub) settle(ctx context.Context) {
	select {
	case <-h.started:
	case <-ctx.Done():
		return
	}
	_ = h.scan() // a server that was started just before must not be missed
	h.mu.Lock()
	var waits []<-chan struct{}
	for _, p := range h.known {
		waits = append(waits, p.settled)
	}
	h.mu.Unlock()
	for _, c := range waits {
		select {
		case <-c:
		case <-ctx.Done():
			return
		}
	}
}

func (h *hub) run() {
	defer close(h.done)
	start := sync.OnceFunc(func() { close(h.started) })
	for h.life.Err() == nil {
		stop, err := h.open()
		h.setErr(err)
		start()
		again := rereadTime
		if err != nil {
			again = retryTime
		}
		select {
		case <-h.life.Done():
		case <-h.reopen:
		case <-time.After(again):
		}
		stop()
	}
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.peers.Wait()
}

// open makes the directory, if need be, watches it and reads it.
func (h *hub) open() (stop func(), err error) {
	if err := ensureDir(h.dir); err != nil {
		return func() {}, err
	}
	stop, err = watchDir(h.dir, h.handle)
	if err != nil {
		return func() {}, err
	}
	return stop, h.scan()
}

func (h *hub) handle(name string) {
	if name != "" {
		h.look(name)
		return
	}
	select {
	case h.reopen <- struct{}{}:
	default:
	}
}

func (h *hub) setErr(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil && h.err == nil:
		return
	case err != nil && (h.err == nil || h.err.Error() != err.Error()):
		h.logger.Warn("local registry cannot be read", "err", err)
	}
	h.err = err
	h.changedLocked()
}

func (h *hub) changedLocked() {
	for c := range h.notify {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// scan looks at all files.
func (h *hub) scan() error {
	entries, err := os.ReadDir(h.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		h.look(e.Name())
		h.sweep(e)
	}
	return nil
}

// sweep removes the socket of a process that died before it gave it its name.
func (h *hub) sweep(e fs.DirEntry) {
	if e.Type() != fs.ModeSocket || !strings.HasPrefix(e.Name(), ".") || !strings.HasSuffix(e.Name(), tempSuffix) {
		return
	}
	if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > tempAge {
		os.Remove(filepath.Join(h.dir, e.Name()))
	}
}

// look follows the process that a file belongs to, unless that is done
// already. A file that replaced another one belongs to another process, or to
// a later lease of the same.
func (h *hub) look(name string) {
	if !strings.HasSuffix(name, suffix) {
		return
	}
	info, err := os.Lstat(filepath.Join(h.dir, name))
	if err != nil || info.Mode()&fs.ModeSocket == 0 || !owned(info) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.known[name]
	if h.closed || old != nil && os.SameFile(old.file, info) {
		return
	}
	p := newPeer(h, name, info)
	if old != nil {
		p.instances = old.instances
		old.cancel()
	}
	h.known[name] = p
	h.peers.Go(p.run)
}

// set notes what a process serves, unless another one took its place.
func (h *hub) set(p *peer, instances []registry.Instance) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known[p.name] == p {
		p.instances = instances
		h.changedLocked()
	}
}

// forget drops a process that is gone.
func (h *hub) forget(p *peer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known[p.name] == p {
		delete(h.known, p.name)
		h.changedLocked()
	}
}
