package easyops

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

const (
	defaultDrainDelay = 2 * time.Second

	// listStopping is how long the registry may take to note that the server
	// stops. A stop goes on without it.
	listStopping = time.Second
)

// stop begins an orderly stop, once.
func (s *Server) stop(reason string) {
	s.stopOnce.Do(func() {
		s.log.Info("stopping", "reason", reason, "in_flight", s.calls.inFlight())
		close(s.stopping)
		go s.windDown()
	})
}

// cut ends an orderly stop: what is left is cut off now.
func (s *Server) cut() { s.cutOnce.Do(func() { close(s.hurry) }) }

// fail stops the server because a part of it has ended by itself.
func (s *Server) fail(err error) {
	s.mu.Lock()
	s.err = errors.Join(s.err, err)
	s.mu.Unlock()
	s.stop(err.Error())
}

// windDown is the whole of a stop, in its order.
func (s *Server) windDown() {
	defer close(s.done)
	<-s.launched
	begun := time.Now()
	total, cancel := context.WithTimeout(context.Background(), s.cfg.shutdownTimeout)
	defer cancel()
	reserve := reserveOf(s.cfg.shutdownTimeout)
	ctx, cut := context.WithTimeout(total, s.cfg.shutdownTimeout-reserve)
	defer cut()
	go func() {
		select {
		case <-s.hurry:
			cut()
			sleep(total, reserve)
			cancel()
		case <-total.Done():
		}
	}()

	s.leave(ctx)
	err := s.drain(ctx)
	s.endLife()
	err = errors.Join(err, s.finish(total, ctx, reserve))

	s.mu.Lock()
	s.err = errors.Join(s.err, err)
	s.mu.Unlock()
	s.log.Info("stopped", "duration", time.Since(begun).Round(time.Millisecond))
}

// reserveOf is what is kept of the time for a stop for what comes after the
// last call.
func reserveOf(timeout time.Duration) time.Duration { return min(timeout/10, 2*time.Second) }

// leave tells everyone that the server is about to stop, and goes on serving
// until they have had time to notice.
func (s *Server) leave(ctx context.Context) {
	s.setState(registry.Stopping)
	if s.publisher != nil {
		bounded, cancel := context.WithTimeout(ctx, listStopping)
		defer cancel()
		if err := s.publisher.Stop(bounded, s.lastEntries()); err != nil {
			s.log.Warn("the registry did not note the stop", "err", err)
		}
	}
	if delay := time.Duration(s.drainDelay.Load()); delay > 0 {
		s.log.Info("serving on until clients have noticed", "duration", delay)
		sleep(ctx, delay)
	}
}

// drain lets what is open end: calls by themselves, streams when they are told
// to or at the end of their grace. What is left when the context ends is cut,
// and the error names it.
func (s *Server) drain(ctx context.Context) error {
	s.log.Info("draining", "in_flight", s.calls.inFlight())
	close(s.draining)
	var told sync.WaitGroup
	told.Go(s.drainTCP)
	s.port.StopAccepting()
	told.Wait()
	drained := make(chan error, 1)
	go func() { drained <- s.drainParts(ctx) }()
	s.calls.end(func(c *call) bool { return c.method.ours && c.isStream() })
	grace := time.After(s.cfg.streamGrace)
	for {
		select {
		case err := <-drained:
			return errors.Join(err, s.cutOff())
		case <-ctx.Done():
			err := s.cutOff()
			select {
			case cut := <-drained:
				return errors.Join(cut, err)
			case <-time.After(lastWords): // a handler ignores its context; it is named
				return err
			}
		case <-grace:
			s.calls.end(func(c *call) bool { return c.isStream() || c.isSilent() })
			grace = time.After(100 * time.Millisecond) // for those that began meanwhile
		}
	}
}

// drainParts drains every stack at the same time.
func (s *Server) drainParts(ctx context.Context) error {
	var parts sync.WaitGroup
	parts.Go(s.grpc.GracefulStop)
	parts.Go(func() { s.calls.ended(ctx) }) // handlers may outlive their call
	parts.Go(func() { _ = s.endTCP(ctx) })  // cutOff returns the error
	var ofPort, ofStatus error
	parts.Go(func() { ofPort = s.port.Shutdown(ctx) })
	if s.statusHTTP != nil {
		parts.Go(func() { ofStatus = s.statusHTTP.Shutdown(ctx) })
	}
	parts.Wait()
	if ofPort != nil || ofStatus != nil {
		return errors.New("HTTP requests were cut off")
	}
	return nil
}

// lastWords is how long a status may take to reach the client of a call that
// is cut off.
const lastWords = 50 * time.Millisecond

// cutOff ends the calls that are left, names them, and closes every connection.
// The port comes first: grpc-go waits for calls that wait for their connection.
func (s *Server) cutOff() error {
	names := s.calls.names()
	if len(names) > 0 {
		s.calls.end(func(*call) bool { return true })
		time.Sleep(lastWords)
	}
	err := s.port.Close()
	s.grpc.Stop()
	s.grpcHTTP.Stop()
	if s.statusHTTP != nil {
		err = errors.Join(err, s.statusHTTP.Close())
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	ofTCP := s.endTCP(over)
	for _, name := range names {
		s.log.Warn("call cut off", "call", name)
	}
	if len(names) > 0 {
		err = fmt.Errorf("calls were cut off (%d): %s", len(names), strings.Join(names, "; "))
	}
	return errors.Join(err, ofTCP)
}

// finish ends what is not a call: the entry in the registry, the user's work,
// the goroutines of the runtime. The functions of WithOnStop have the reserve of
// time, and what the work leaves of the rest.
func (s *Server) finish(ctx, drain context.Context, reserve time.Duration) error {
	var errs []error
	if s.publisher != nil {
		if err := s.publisher.Close(ctx); err != nil {
			s.log.Warn("the registry entry may outlive the server for a while", "err", err)
		}
	}
	if left := s.awaitWork(ctx, drain, reserve/2); len(left) > 0 {
		errs = append(errs, fmt.Errorf("these ignored the end of their context: %s", strings.Join(left, "; ")))
	}
	for _, h := range slices.Backward(s.cfg.onStop) {
		if err := s.runHook(ctx, h); err != nil {
			errs = append(errs, fmt.Errorf("WithOnStop %s: %w", h.name, err))
		}
	}
	if s.registry != nil {
		errs = append(errs, s.registry.Close())
	}
	errs = append(errs, s.closeAuthenticators())
	s.background.Wait()
	s.awaitCallbacks()
	s.metrics.Close()
	return errors.Join(errs...)
}

// awaitWork waits for what [Go] runs: as long as calls may be waited for, and a
// moment where that time is over. It names what is left.
func (s *Server) awaitWork(ctx, drain context.Context, moment time.Duration) []string {
	if drain.Err() == nil {
		return s.work.wait(drain)
	}
	short, cancel := context.WithTimeout(ctx, moment)
	defer cancel()
	return s.work.wait(short)
}

// awaitCallbacks gives checks and the functions of WithOnReady a moment to end,
// but not more: one of the latter may wait for this very stop.
func (s *Server) awaitCallbacks() {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	for _, name := range s.callbacks.wait(ctx) {
		s.log.Warn("still running after the stop", "function", name)
	}
}

// runHook runs a function of the user's for no longer than the context lasts.
func (s *Server) runHook(ctx context.Context, h hook) error {
	result := make(chan error, 1)
	go func() {
		var err error
		if p := s.guard(ctx, "WithOnStop "+h.name, func() { err = h.f(ctx) }); p != nil {
			err = p
		}
		result <- err
	}()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
