package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

const (
	minRedial = 5 * time.Millisecond
	maxRedial = time.Second
)

// errGone is why a process is not followed any more.
var errGone = errors.New("the process is gone")

// peer follows one process: the connection to its socket stays open, so its
// end is seen at once.
type peer struct {
	hub    *hub
	name   string // of the file
	id     string
	file   os.FileInfo
	life   context.Context
	cancel context.CancelFunc

	settled chan struct{} // closed when it was heard, or will not be
	settle  func()
	warn    sync.Once

	instances []registry.Instance // guarded by the hub
}

func newPeer(h *hub, name string, file os.FileInfo) *peer {
	p := &peer{
		hub:     h,
		name:    name,
		id:      strings.TrimSuffix(name, suffix),
		file:    file,
		settled: make(chan struct{}),
	}
	p.life, p.cancel = context.WithCancel(h.life)
	p.settle = sync.OnceFunc(func() { close(p.settled) })
	return p
}

// run connects for as long as there is a process. One that closes the
// connection is asked again soon: it is dead, or found us too slow.
func (p *peer) run() {
	defer p.cancel()
	defer p.settle()
	delay, silent := minRedial, 0
	for {
		start := time.Now()
		heard, err := p.follow()
		if p.life.Err() != nil {
			return
		}
		if errors.Is(err, errGone) {
			p.hub.forget(p)
			return
		}
		p.complain(err)
		if silent++; heard {
			silent = 0
		}
		if silent > 1 {
			p.hub.set(p, nil)
			p.settle()
		}
		if time.Since(start) > maxRedial {
			delay = minRedial
		}
		select {
		case <-p.life.Done():
			return
		case <-time.After(delay):
			delay = min(2*delay, maxRedial)
		}
	}
}

// follow connects and reads until the connection ends. It reports whether the
// process said anything.
func (p *peer) follow() (heard bool, err error) {
	conn, err := dial(p.life, p.hub.dir, p.name)
	if err != nil {
		return false, p.judge(err)
	}
	defer conn.Close()
	defer context.AfterFunc(p.life, func() { conn.Close() })()

	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		heard = true
		p.hear(lines.Bytes())
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return false, fmt.Errorf("a line of more than %d bytes: %w", maxLine, err)
	}
	return heard, nil
}

func (p *peer) hear(line []byte) {
	instances, err := decode(line, p.id)
	if err != nil {
		p.complain(err)
	}
	if err == nil || instances != nil {
		p.hub.set(p, instances)
	}
	p.settle()
}

// judge tells a process that is gone from one that cannot be asked now. A file
// that nobody listens on is stale, because it got its name with its listener;
// its ID is not used again, so it is removed.
func (p *peer) judge(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errGone
	case errors.Is(err, syscall.ECONNREFUSED):
		path := filepath.Join(p.hub.dir, p.name)
		if info, err := os.Lstat(path); err == nil && os.SameFile(info, p.file) {
			os.Remove(path)
		}
		return errGone
	default:
		return err
	}
}

// complain logs the first thing that is wrong with a process.
func (p *peer) complain(err error) {
	if err == nil {
		return
	}
	p.warn.Do(func() {
		p.hub.logger.Warn("local registry: a process does not say properly what it serves", "instance", p.id, "err", err)
	})
}
