package easyops

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// Main is the rest of a main function: it serves until SIGTERM or SIGINT, stops
// in an orderly way, and exits with 0, or with 1 after an error, which it logs.
// As it exits, deferred functions of main do not run: use [WithOnStop], or [Run].
// A second signal stops at once; one that comes together with the first, as
// from timeout(1), which signals the process and then its group, is the same.
func Main(s *Server, err error) {
	if err := Run(s, err); err != nil {
		for _, fault := range faults(err) {
			slog.Error(fault.Error()) //nolint:sloglint // there is no server whose logger could be used
		}
		os.Exit(1)
	}
	os.Exit(0)
}

// Run serves as [Main] does, and returns the error instead of exiting.
func Run(s *Server, err error) error {
	if err != nil {
		return err
	}
	if s == nil || !s.serving.Load() {
		return errNotStarted
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(signals)
	select {
	case sig := <-signals:
		s.stop("signal: " + sig.String())
	case <-s.done:
		return s.Wait()
	}
	s.awaitSecond(signals, time.Now())
	return s.Wait()
}

// sameSignal is how long after a signal another counts as the same.
const sameSignal = 300 * time.Millisecond

// awaitSecond waits for the end of the stop, or for a signal that hurries it.
func (s *Server) awaitSecond(signals <-chan os.Signal, first time.Time) {
	for {
		select {
		case <-s.done:
			return
		case <-signals:
			if time.Since(first) > sameSignal {
				s.log.Warn("second signal: stopping at once")
				s.cut()
				return
			}
		}
	}
}

// faults takes joined errors apart, so that each has a line of its own. What an
// error says around joined ones is said of each.
func faults(err error) (all []error) {
	text := err.Error()
	if !strings.Contains(text, "\n") {
		return []error{err}
	}
	if joined := joinedIn(err); joined != nil {
		for _, e := range joined {
			all = append(all, faults(e)...)
		}
		return all
	}
	inner := errors.Unwrap(err)
	if inner == nil || inner.Error() == "" {
		return []error{err}
	}
	before, after, ok := strings.Cut(text, inner.Error())
	if !ok {
		return []error{err}
	}
	for _, e := range faults(inner) {
		all = append(all, fmt.Errorf("%s%w%s", before, e, after))
	}
	return all
}

// joinedIn returns the errors that [errors.Join] has made one of, nil where that
// is not what has made it: the text of others has more than their errors'.
func joinedIn(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || errors.Join(joined.Unwrap()...).Error() != err.Error() {
		return nil
	}
	return joined.Unwrap()
}
