package auth

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// freshness is how long what was read is taken for what is there, where
	// nobody calls Refresh.
	freshness = time.Second
	// clockGrain is how young a modification may be for another one to bear
	// the same time.
	clockGrain = 2 * time.Second
)

// watchedFile is a file of which changes are noticed: also a link that points
// elsewhere, as Kubernetes swaps its volumes, and a file written in place.
type watchedFile struct {
	path  string
	limit int64 // bytes

	data []byte      // as of the last look that succeeded
	info os.FileInfo // of data; nil: never read
	read time.Time   // when data was last read
}

// look reads the file into data where it may have changed, and tells whether it
// has. It is an error if the file changes while it is read: it is half written.
func (f *watchedFile) look() (changed bool, err error) {
	for range 3 { // a file that is replaced as a whole is whole the next time
		if changed, err = f.lookOnce(); !errors.Is(err, errBeingWritten) {
			break
		}
	}
	return changed, err
}

var errBeingWritten = errors.New("it is being written")

func (f *watchedFile) lookOnce() (changed bool, err error) {
	now := time.Now()
	info, err := os.Stat(f.path)
	if err != nil {
		return false, err
	}
	if f.info != nil && sameFile(f.info, info) && f.read.Sub(info.ModTime()) > clockGrain {
		return false, nil
	}
	data, err := readFile(f.path, f.limit)
	if err != nil {
		return false, err
	}
	switch after, err := os.Stat(f.path); {
	case err != nil:
		return false, err
	case !sameFile(info, after):
		return false, fmt.Errorf("%s: %w", f.path, errBeingWritten)
	}
	changed = f.info == nil || !bytes.Equal(f.data, data)
	f.data, f.info, f.read = data, info, now
	return changed, nil
}

func sameFile(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// openRegular opens a file that is not one that could block, such as a pipe. Nor
// does it block to find out.
func openRegular(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: no regular file but a directory, a pipe or the like", path)
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

func readFile(path string, limit int64) ([]byte, error) {
	file, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("%s: it is longer than %d bytes", path, limit)
	}
	return data, nil
}

// watched is what was made of files that may change, taken as one set: it stays
// in force until all of them make a good one again. It implements [Source].
type watched[T any] struct {
	name  string // of the source
	files []*watchedFile
	// parse makes the value of the files' contents. Of the state it gives What
	// and Expires.
	parse func(now time.Time) (T, SourceState, error)
	log   *slog.Logger

	mu      sync.Mutex // for a look at the files
	pending bool       // what was read last is not in force
	failed  error      // nil where all is well
	since   time.Time  // when it began to be not

	current atomic.Pointer[inForce[T]]
	looked  atomic.Pointer[time.Time]
}

type inForce[T any] struct {
	value T
	state SourceState
}

// load reads the files for the first time; its error is what is wrong with them.
func (w *watched[T]) load() error {
	if w.log == nil {
		w.log = slog.Default()
	}
	now := time.Now()
	if _, err := w.lookAll(); err != nil {
		return err
	}
	value, state, err := w.parse(now)
	if err != nil {
		return err
	}
	w.take(now, value, state)
	w.looked.Store(&now)
	return nil
}

// Refresh implements [Source].
func (w *watched[T]) Refresh(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refresh(now)
}

// refresh is called with mu locked. What was refused is tried again, changed or
// not: its time may come.
func (w *watched[T]) refresh(now time.Time) {
	looked := time.Now()
	defer w.looked.Store(&looked)
	changed, err := w.lookAll()
	w.pending = w.pending || changed
	if err == nil && w.pending {
		err = w.reparse(now)
	}
	if err == nil {
		err = w.expired(now)
	}
	w.settle(now, err)
}

func (w *watched[T]) reparse(now time.Time) error {
	value, state, err := w.parse(now)
	if err != nil {
		return err
	}
	w.pending = false
	w.take(now, value, state)
	w.log.Info("read again and in force", "source", w.name, "what", state.What, "expires", state.Expires)
	return nil
}

// expired tells that what is in force is not good any more.
func (w *watched[T]) expired(now time.Time) error {
	if end := w.State().Expires; !end.IsZero() && now.After(end) {
		return fmt.Errorf("%s: expired at %s, and there is nothing newer", w.where(), end.Format(time.RFC3339))
	}
	return nil
}

// settle makes the outcome of a look known: in the log once for each change.
func (w *watched[T]) settle(now time.Time, err error) {
	switch {
	case err == nil && w.failed == nil:
		return
	case err == nil:
		w.log.Info("in order again", "source", w.name)
	case w.failed == nil || w.failed.Error() != err.Error():
		w.log.Error("not in order, what was read last stays in force", "source", w.name, "err", err)
	}
	if w.failed == nil {
		w.since = now
	}
	w.failed = err
	current := *w.current.Load()
	current.state.Err = nil
	if err != nil {
		current.state.Err = fmt.Errorf("since %s: %w", w.since.Format(time.RFC3339), err)
	}
	w.current.Store(&current)
}

func (w *watched[T]) take(now time.Time, value T, state SourceState) {
	state.Name, state.Where, state.Since = w.name, w.where(), now
	w.current.Store(&inForce[T]{value, state})
}

func (w *watched[T]) where() string {
	var paths []string
	for _, f := range w.files {
		paths = append(paths, f.path)
	}
	return strings.Join(paths, ", ")
}

// lookAll looks at all files, so that one error does not hide another.
func (w *watched[T]) lookAll() (changed bool, err error) {
	var errs []error
	for _, f := range w.files {
		c, err := f.look()
		changed = changed || c
		errs = append(errs, err)
	}
	return changed, errors.Join(errs...)
}

// State implements [Source].
func (w *watched[T]) State() SourceState { return w.current.Load().state }

// get returns what is in force.
func (w *watched[T]) get() T { return w.current.Load().value }

// fresh returns what is in force, after a look at the files where the last one
// is longer ago than freshness. It is for programs in which nobody calls
// Refresh. It does not wait for a look that is going on: the files may be on a
// disk that hangs.
func (w *watched[T]) fresh() T {
	if w.isStale() && w.mu.TryLock() {
		defer w.mu.Unlock()
		if w.isStale() {
			w.refresh(time.Now())
		}
	}
	return w.get()
}

func (w *watched[T]) isStale() bool {
	since := time.Since(*w.looked.Load())
	return since < 0 || since > freshness
}
