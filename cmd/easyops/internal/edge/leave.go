package edge

import (
	"context"
	"errors"
	"time"
)

// await ends what runs beside the server, after it.
func (e *Edge) await() {
	err := errors.Join(e.server.Wait(), e.release())
	e.mu.Lock()
	e.err = errors.Join(e.failure, err)
	e.mu.Unlock()
	close(e.done)
}

// hold returns all listeners, which stay as they are until they are released.
func (e *Edge) hold() (all []*listener, release func()) {
	e.changes.Lock()
	return append([]*listener{e.web, e.pages}, e.ports.listeners()...), e.changes.Unlock
}

// pause leaves further connections to the successor.
func (e *Edge) pause() {
	e.leaving.Store(true)
	all := append([]*listener{e.web, e.pages}, e.ports.listeners()...)
	for _, l := range all {
		l.Pause()
	}
}

// farewell is how long an edge that has handed over serves the connections that it has
// as before, but ends each with its next answer. So none that is in use has to be ended
// by the edge, which could cross a request on its way: one that may not be repeated
// would be lost.
const farewell = time.Second

// leave ends an edge that has handed over.
func (e *Edge) leave(successor int) {
	e.log.Info("handed over, and draining", "pid", successor)
	e.background.Go(func() {
		select {
		case <-time.After(farewell):
		case <-e.life.Done():
		}
		go func() { _ = e.Shutdown(context.Background()) }() // which waits for this
	})
}

// fail stops the edge because a part of it has ended by itself.
func (e *Edge) fail(err error) {
	e.log.Error("stopping", "err", err)
	e.mu.Lock()
	e.failure = errors.Join(e.failure, err)
	e.mu.Unlock()
	go func() { _ = e.Shutdown(context.Background()) }()
}

// release gives back what the edge has. It is called once, after the server.
func (e *Edge) release() (err error) {
	e.end()
	if e.door != nil {
		e.door.close()
	}
	e.background.Wait()
	for _, l := range []*listener{e.web, e.pages} {
		if l != nil {
			_ = l.Close() // the server has closed it, if it has begun
		}
	}
	if e.ports != nil {
		err = errors.Join(err, e.ports.close())
	}
	if e.table != nil {
		err = errors.Join(err, e.table.Close())
	}
	if e.registry != nil {
		err = errors.Join(err, e.registry.Close())
	}
	return err
}
