package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-easyops/easyops/cmd/easyops/internal/export"
	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
)

const (
	// reloadTime is how long a reload command may take.
	reloadTime = time.Minute
	// reloadPause is the least time from one reload to the next: proxies do not
	// like the next one before they are done with the last. It must leave a server
	// time to be dropped before it stops, which it says 2 s before.
	reloadPause = 500 * time.Millisecond
	// Where there were manyReloads in the time before, each leaves processes that
	// still have something to do, so from then on reloads are farther apart.
	manyReloads, manyTime, manyPause = 60, 10 * time.Minute, 10 * time.Second
	// A reload that failed is tried again after this time, and twice as long after
	// each further one.
	firstRetry, lastRetry = time.Second, 30 * time.Second
)

// follow writes what changes until the program is asked to stop.
func (r *exportRequest) follow(ctx context.Context, out, warn io.Writer) error {
	ctx, cancel := interruptible(ctx)
	defer cancel()
	w := &exportWriter{request: r, out: out, warn: warn}
	follower := export.Follower{File: r.routes, Registry: r.reg, Logger: newWarnings(warn), Update: w.update}
	return follower.Run(ctx)
}

// exportWriter writes a configuration and has the proxy read it.
type exportWriter struct {
	request   *exportRequest
	out, warn io.Writer

	print  [sha256.Size]byte // of what the proxy has
	begun  bool              // print is set
	tried  [sha256.Size]byte // of what it was to have last
	failed string            // what was said last of what goes wrong

	reloads []time.Time // of late
	retryAt time.Time
	retry   time.Duration
}

// update brings the proxy to what is known now.
func (w *exportWriter) update(ctx context.Context, f *routes.File, have export.Instances) {
	if err := w.try(ctx, f, have); err == nil {
		w.failed = ""
	} else if ctx.Err() == nil && err.Error() != w.failed {
		w.failed = err.Error()
		fmt.Fprintf(w.warn, "easyops: warning: export: %s\n", printable(err.Error()))
	}
}

func (w *exportWriter) try(ctx context.Context, f *routes.File, have export.Instances) error {
	text, err := w.request.Render(f, have)
	if err != nil {
		return err
	}
	print := fingerprint(text, f, w.request.CA)
	if !w.begun && sameFile(w.request.out, text) {
		w.print, w.begun = print, true // of a run before this one
	}
	if w.begun && print == w.print || print == w.tried && time.Now().Before(w.retryAt) {
		return nil
	}
	w.tried = print
	if err := w.write(ctx, f, text); err != nil {
		w.retry = min(max(firstRetry, 2*w.retry), lastRetry)
		w.retryAt = time.Now().Add(w.retry)
		return fmt.Errorf("%w: it is tried again", err)
	}
	w.print, w.begun, w.retry, w.retryAt = print, true, 0, time.Time{}
	return nil
}

// write writes the file and has the proxy read it.
func (w *exportWriter) write(ctx context.Context, f *routes.File, text []byte) error {
	path := w.request.out
	if err := makeLinks(w.request.CertLinks(f)); err != nil {
		return err
	}
	if !sameFile(path, text) {
		if err := writeWhole(file{path, publicFile, text}); err != nil {
			return err
		}
		fmt.Fprintln(w.out, "wrote", path)
	}
	if w.request.command == "" {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(w.pause(time.Now())):
	}
	begun := time.Now()
	err := w.reload(ctx)
	ended := time.Now()
	w.reloads = append(w.reloads, ended)
	if err == nil {
		fmt.Fprintf(w.out, "reloaded in %v\n", ended.Sub(begun).Round(time.Millisecond))
	}
	return err
}

// pause is how long to wait with the next reload.
func (w *exportWriter) pause(now time.Time) time.Duration {
	w.reloads = slices.DeleteFunc(w.reloads, func(at time.Time) bool { return now.Sub(at) > manyTime })
	n := len(w.reloads)
	switch {
	case n == 0:
		return 0
	case n < manyReloads:
		return w.reloads[n-1].Add(reloadPause).Sub(now)
	}
	return w.reloads[n-1].Add(manyPause).Sub(now)
}

// reload runs the command. Its output goes where warnings go.
func (w *exportWriter) reload(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reloadTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", w.request.command)
	cmd.Stdout, cmd.Stderr = w.warn, w.warn
	cmd.WaitDelay = time.Second // for what it leaves running with our output
	err := cmd.Run()
	switch {
	case errors.Is(err, exec.ErrWaitDelay):
		return nil // it succeeded, and left a daemon behind
	case ctx.Err() != nil:
		return fmt.Errorf("the reload command takes longer than %v", reloadTime)
	case err != nil:
		return fmt.Errorf("the reload command failed: %w", err)
	}
	return nil
}

// fingerprint tells whether the proxy has to read its files again.
func fingerprint(text []byte, f *routes.File, ca string) (sum [sha256.Size]byte) {
	h := sha256.New()
	h.Write(text)
	files := []string{ca}
	for _, c := range f.TLS {
		files = append(files, c.Cert, c.Key)
	}
	for _, path := range files {
		content, err := os.ReadFile(path)
		fmt.Fprintf(h, "\x00%d %v\x00", len(content), err != nil)
		h.Write(content)
	}
	copy(sum[:], h.Sum(nil))
	return sum
}

func sameFile(path string, text []byte) bool {
	is, err := os.ReadFile(path)
	return err == nil && bytes.Equal(is, text)
}

// makeLinks makes symbolic links, and replaces those that lead elsewhere.
func makeLinks(links []export.Link) error {
	for _, l := range links {
		if target, err := os.Readlink(l.Name); err == nil && target == l.Target {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(l.Name), secretDir); err != nil {
			return err
		}
		temp := l.Name + ".new"
		if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := errors.Join(os.Symlink(l.Target, temp), os.Rename(temp, l.Name)); err != nil {
			return err
		}
	}
	return nil
}
