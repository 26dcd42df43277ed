//go:build unix

package edge

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	canHandOver = true

	// descriptorsAtOnce is how many descriptors go with one message: the kernel takes
	// some 250.
	descriptorsAtOnce = 64
	// longestEstate is how long the line of JSON may be, in bytes.
	longestEstate = 1 << 20
)

// takeOver asks the edge at a socket for its listeners.
func takeOver(path string) (*prior, error) {
	if err := checkDir(path); err != nil {
		return nil, err
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, errNoPrior
	case err != nil:
		return nil, err
	}
	p, err := receive(conn)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return p, nil
}

// receive takes listeners from the edge that runs.
func receive(conn *net.UnixConn) (*prior, error) {
	if err := sameUser(conn); err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(answerTime))
	text, files, err := readEstate(conn)
	defer func() {
		for _, f := range files {
			_ = f.Close() // net.FileListener has made copies
		}
	}()
	if err != nil {
		return nil, err
	}
	p := &prior{pid: text.PID, manner: text.Manner, conn: conn}
	for n, name := range text.Listeners {
		l, err := listenerOf(name, files[n])
		if err != nil {
			for _, l := range p.listeners {
				_ = l.Close()
			}
			return nil, err
		}
		p.listeners = append(p.listeners, l)
	}
	return p, nil
}

// readEstate reads the line and as many descriptors as it names. The files are the
// caller's, also with an error.
func readEstate(conn *net.UnixConn) (e estate, files []*os.File, err error) {
	var text []byte
	buf, oob := make([]byte, 64<<10), make([]byte, syscall.CmsgSpace(4*descriptorsAtOnce))
	for {
		n, oobn, flags, _, err := conn.ReadMsgUnix(buf, oob)
		files = append(files, descriptors(oob[:oobn])...)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
			return e, files, errInterrupted
		case err != nil:
			return e, files, err
		case flags&syscall.MSG_CTRUNC != 0:
			return e, files, errors.New("descriptors were lost: raise the limit of open files")
		}
		if text = append(text, buf[:n]...); len(text) > longestEstate {
			return e, files, fmt.Errorf("hand-over: more than %d bytes", longestEstate)
		}
		line, _, whole := bytes.Cut(text, []byte("\n"))
		if !whole {
			continue
		}
		if err := json.Unmarshal(line, &e); err != nil {
			return e, files, fmt.Errorf("hand-over: %w", err)
		}
		if e.Version != handoverVersion {
			return e, files, fmt.Errorf("it hands over by version %d and this program by version %d: stop it first", e.Version, handoverVersion)
		}
		if len(files) >= len(e.Listeners) {
			return e, files, nil
		}
	}
}

// descriptors makes files of those in control messages. The runtime has them closed
// in programs that this one starts.
func descriptors(oob []byte) (files []*os.File) {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		fds, err := syscall.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "listener"))
		}
	}
	return files
}

// door is the socket at which a successor asks for the listeners.
type door struct {
	path, hidden string
	lis          *net.UnixListener
	file         os.FileInfo // to tell it from that of a successor
	log          *slog.Logger

	mu     sync.Mutex
	asking net.Conn // of the successor that is being served
	closed bool
	served sync.WaitGroup
}

// newDoor makes the socket under a name that nobody knows; open gives it its own. So
// there is no moment in which a starting edge finds none. What a process that is
// killed between the two leaves in the directory of a local registry is removed there.
func newDoor(path string, log *slog.Logger) (*door, error) {
	if err := checkDir(path); err != nil {
		return nil, err
	}
	dir, name := filepath.Split(path)
	d := &door{path: path, hidden: filepath.Join(dir, "."+name+"."+rand.Text()[:6]+".tmp"), log: log}
	lis, err := net.ListenUnix("unix", &net.UnixAddr{Name: d.hidden, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("hand-over socket: %w: choose another path by --handover", err)
	}
	lis.SetUnlinkOnClose(false)
	d.lis = lis
	if err := os.Chmod(d.hidden, 0o600); err != nil {
		return nil, errors.Join(err, lis.Close(), os.Remove(d.hidden))
	}
	return d, nil
}

// open lets successors come in.
func (d *door) open(s successions) error {
	err := os.Rename(d.hidden, d.path)
	if err == nil {
		d.file, err = os.Lstat(d.path)
	}
	if err != nil {
		return fmt.Errorf("hand-over socket: %w", err)
	}
	d.served.Go(func() { d.serve(s) })
	return nil
}

// close ends it, and a hand-over that is under way. It does not wait for one that has
// come so far that it ends the edge itself.
func (d *door) close() {
	d.mu.Lock()
	d.closed = true
	_ = d.lis.Close()
	if d.asking != nil {
		_ = d.asking.Close()
	}
	d.mu.Unlock()
	_ = os.Remove(d.hidden)
	if now, err := os.Lstat(d.path); err == nil && d.file != nil && os.SameFile(now, d.file) {
		_ = os.Remove(d.path)
	}
	d.served.Wait()
}

func (d *door) serve(s successions) {
	for {
		conn, err := d.lis.AcceptUnix()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			time.Sleep(retryPause)
			continue
		}
		if !d.admit(conn) {
			continue
		}
		pid, err := d.pass(conn, s)
		_ = conn.Close()
		if err == nil {
			_ = d.lis.Close()
			s.leave(pid)
			return
		}
		d.log.Warn("not handed over, and serving on", "err", err)
	}
}

// admit notes who is being served, so that close can end it.
func (d *door) admit(conn *net.UnixConn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.asking = conn; d.closed {
		_ = conn.Close()
	}
	return !d.closed
}

// pass hands the listeners to a successor, and returns its process once this edge
// takes no more connections.
func (d *door) pass(conn *net.UnixConn, s successions) (pid int, err error) {
	if err := sameUser(conn); err != nil {
		return 0, err
	}
	all, release := s.hold()
	defer release()
	_ = conn.SetDeadline(time.Now().Add(becomeReady))
	if err := writeEstate(conn, s.manner, all); err != nil {
		return 0, err
	}
	if got, err := awaitWord(conn, wordServing); err != nil {
		return 0, fmt.Errorf("the edge that was to take over has ended before it served (said %q): %w", got, err)
	}
	s.pause()
	_, _ = conn.Write([]byte(wordPaused)) // it serves, whether it learns of this or not
	return processOf(conn), nil
}

// writeEstate sends how the edge serves, the listeners' names, and copies of their
// descriptors.
func writeEstate(conn *net.UnixConn, m manner, all []*listener) error {
	e := estate{Version: handoverVersion, PID: os.Getpid(), Manner: m, Listeners: []string{}}
	var fds []int
	for _, l := range all {
		f, err := l.File()
		if err != nil {
			return fmt.Errorf("listener %q: %w", l.name, err)
		}
		defer f.Close() // the copy that is on its way stays
		fd, err := descriptorOf(f)
		if err != nil {
			return fmt.Errorf("listener %q: %w", l.name, err)
		}
		fds, e.Listeners = append(fds, fd), append(e.Listeners, l.name)
	}
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	text = append(text, '\n')
	for batch := range slices.Chunk(fds, descriptorsAtOnce) {
		if _, _, err := conn.WriteMsgUnix(text[:1], syscall.UnixRights(batch...), nil); err != nil {
			return err
		}
		text = text[1:] // a message has a byte at least
	}
	_, err = conn.Write(text)
	return err
}

// descriptorOf is the descriptor of a file. Fd would make it, and the listener that
// it is a copy of, one that blocks.
func descriptorOf(f *os.File) (fd int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	return fd, raw.Control(func(n uintptr) { fd = int(n) })
}
