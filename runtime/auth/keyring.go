package auth

import (
	"bytes"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// keyring holds the keys in force, and what became of the last attempt to read
// them again. It may be used concurrently.
type keyring struct {
	where string
	log   *slog.Logger

	mu    sync.RWMutex
	data  []byte // that the keys were read from
	keys  *keySet
	since time.Time
	err   error
}

func newKeyring(where string, log *slog.Logger) *keyring {
	return &keyring{where: where, log: log.With("keys_of", where), keys: &keySet{}}
}

// current returns the keys in force.
func (r *keyring) current() *keySet {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.keys
}

// errNoneLeft is a set that the issuer has taken the last key out of.
var errNoneLeft = errors.New("no usable key is left: every token is refused")

// read puts a JSON Web Key Set in force. An error leaves the last one. A set
// without a usable key is one only at first: later it takes back what there was.
func (r *keyring) read(data []byte, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil && !r.since.IsZero() && bytes.Equal(data, r.data) {
		return nil
	}
	keys, ignored, err := parseKeys(data)
	var fault error
	switch {
	case errors.Is(err, errNoKeys) && !r.since.IsZero():
		fault = errNoneLeft
	case err != nil:
		return err
	}
	if !errors.Is(r.err, fault) || !keys.equal(r.keys) {
		r.tell(keys, ignored, fault)
		r.since = now
	}
	keys.succeed(r.keys)
	r.data, r.keys, r.err = data, keys, fault
	return nil
}

func (r *keyring) tell(keys *keySet, ignored []string, fault error) {
	if fault != nil {
		r.log.Error("no keys of tokens are left", "ignored", ignored, "err", fault)
		return
	}
	r.log.Info("keys of tokens read", "keys", keys.String(), "ignored", ignored)
}

// fail says why there are no newer keys. The log is told once of each reason.
func (r *keyring) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil || r.err.Error() != err.Error() {
		r.log.Warn("keys of tokens cannot be read: the last ones stay in force", "keys", r.keys.String(), "err", err)
	}
	r.err = err
}

// State implements [Source].
func (r *keyring) State() SourceState {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return SourceState{Name: "keys", Where: r.where, What: r.keys.String(), Since: r.since, Err: r.err}
}
