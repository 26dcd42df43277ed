package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// maxKeys is how long a set of keys may be, in bytes.
const maxKeys = 1 << 20

// keyFile is the [keySource] of "jwks:".
type keyFile struct{ *keyring }

// openKeyFile reads a file, which must be good.
func openKeyFile(path string, log *slog.Logger) (keyFile, error) {
	f := keyFile{newKeyring(path, log)}
	return f, f.load(time.Now())
}

// Refresh implements [Source]. It reads the whole: a few kilobytes once a second
// cost less than knowing for sure that nothing has changed.
func (f keyFile) Refresh(now time.Time) {
	if err := f.load(now); err != nil {
		f.fail(err)
	}
}

func (f keyFile) load(now time.Time) error {
	data, err := readKeys(f.where)
	if err == nil {
		err = f.read(data, now)
	}
	if err != nil {
		return fmt.Errorf("keys in %s: %w", f.where, err)
	}
	return nil
}

// fetch implements [keySource]: Refresh is never far away.
func (f keyFile) fetch(context.Context) (*keySet, error) { return f.current(), nil }

// Close implements [keySource].
func (f keyFile) Close() error { return nil }

func readKeys(path string) ([]byte, error) {
	file, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readAll(file)
}

// readAll reads a set of keys that is not too long.
func readAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxKeys+1))
	if err == nil && len(data) > maxKeys {
		return nil, errors.New("longer than 1 MiB")
	}
	return data, err
}
