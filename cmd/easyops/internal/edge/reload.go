package edge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
)

// look is how often the files are looked at.
const look = time.Second

// FileState is how the routes file of an edge is.
type FileState struct {
	Path  string
	Since time.Time // the routes that are in force were read
	Err   error     // why what was read later is not in force; nil: it is
	ErrAt time.Time // it was found
}

// follower notices that the routes file has changed.
type follower struct {
	path    string
	seen    []byte // what was last tried, good or not
	pending []byte // what was there at the last look, if that is something else
	gone    bool   // it could not be read at the last look
}

// changed tells whether the file has something new, and has had it at two looks: what
// is being written may read like a file with fewer routes.
func (w *follower) changed() (text []byte, ok bool, err error) {
	text, err = routes.Read(w.path)
	switch {
	case err != nil && w.gone:
		return nil, false, nil // it was said
	case err != nil:
		w.gone = true
		return nil, false, err
	}
	back := w.gone
	w.gone = false
	switch {
	case bytes.Equal(text, w.seen):
		w.pending = nil
		return text, back, nil
	case w.pending == nil || !bytes.Equal(text, w.pending):
		w.pending = text
		return nil, false, nil
	}
	return text, true, nil
}

// tried notes what need not be tried again.
func (w *follower) tried(text []byte) { w.seen, w.pending, w.gone = text, nil, false }

// State returns how the routes file is.
func (e *Edge) State() FileState {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state
}

// Reload reads the routes file and puts it in force as a whole. Where it cannot be, its
// error says why, and what was in force stays.
func (e *Edge) Reload() error {
	e.changes.Lock()
	defer e.changes.Unlock()
	if e.leaving.Load() {
		return errors.New("the edge stops: its successor reads the routes file")
	}
	text, err := routes.Read(e.config.File)
	if err == nil {
		e.follower.tried(text)
		err = e.adopt(text)
	}
	return e.reloaded(err)
}

// reloaded makes the outcome of a reload known.
func (e *Edge) reloaded(err error) error {
	now := time.Now()
	e.mu.Lock()
	e.state.Err, e.state.ErrAt = err, time.Time{}
	if err == nil {
		e.state.Since = now
	} else {
		e.state.ErrAt = now
	}
	e.mu.Unlock()
	if err != nil {
		e.log.Error("routes file not in order, what was read before stays in force", "file", e.config.File, "err", err)
		return err
	}
	e.log.Info("routes file read again and in force", "file", e.config.File)
	return nil
}

// adopt puts the text of a routes file in force.
func (e *Edge) adopt(text []byte) error {
	f, err := routes.Parse(e.config.File, text)
	if err != nil {
		return err
	}
	if err := e.sameFrame(f); err != nil {
		return err
	}
	certs, err := e.certs.prepare(f)
	if err != nil {
		return err
	}
	ports, err := e.ports.prepare(f, nil)
	if err != nil {
		return err
	}
	if err := e.table.Set(f); err != nil {
		ports.abandon()
		return err
	}
	if len(certs) > 0 {
		e.certs.set(certs)
	}
	ports.commit()
	return nil
}

// sameFrame finds what only a new start can change. That need not lose a connection
// either: see the hand-over.
func (e *Edge) sameFrame(f *routes.File) error {
	const anew = "%s: %s: start the edge anew%s"
	way := e.byWhichWay()
	var errs []error
	if addr, err := e.settings.address(f); err != nil || addr != e.address {
		errs = append(errs, fmt.Errorf(anew, f.Name, fmt.Sprintf("listen is %q and was %q", addr, e.address), way))
	}
	if addr := e.settings.admin(f); addr != e.admin {
		errs = append(errs, fmt.Errorf(anew, f.Name, fmt.Sprintf("admin is %q and was %q", addr, e.admin), way))
	}
	if (len(f.TLS) > 0) != (len(e.certs.list()) > 0) {
		errs = append(errs, fmt.Errorf(anew, f.Name, "tls was added or taken out as a whole", way))
	}
	if f.MaxMessage() > e.maxMessage {
		errs = append(errs, fmt.Errorf(anew, f.Name, fmt.Sprintf("a max_message is %d, and the greatest was %d at the start", f.MaxMessage(), e.maxMessage), way))
	}
	return errors.Join(errs...)
}

// byWhichWay says how a new edge takes over from this one. It has to be told of the
// socket: by itself it looks for one that is named after its own address.
func (e *Edge) byWhichWay() string {
	if e.socket == "" {
		return ", once this one has ended"
	}
	return " with --handover=" + e.socket + ", and it takes over from this one"
}

// follow reloads when the file changes or when it is asked to, until the context ends.
func (e *Edge) follow(ctx context.Context) {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.config.again:
			_ = e.Reload() // it is in the log
		case now := <-ticker.C:
			e.certs.refresh(now)
			e.lookAtFile()
		}
	}
}

func (e *Edge) lookAtFile() {
	e.changes.Lock()
	defer e.changes.Unlock()
	if e.leaving.Load() {
		return
	}
	text, changed, err := e.follower.changed()
	switch {
	case err != nil:
		_ = e.reloaded(err)
	case changed:
		e.follower.tried(text)
		_ = e.reloaded(e.adopt(text))
	}
}
