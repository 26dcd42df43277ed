package edge

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	user "github.com/go-easyops/easyops/runtime/registry/local"
)

// The words of a hand-over, at a Unix socket that the running edge has. Whoever
// connects is told of its listeners in a line of JSON, with their descriptors beside
// it; says "serving" once it serves on them; and is told "paused" when the running
// edge takes no more connections. Until "serving" comes nothing has changed for the
// running edge, whatever becomes of the other.
const (
	handoverVersion = 1

	wordServing = "serving\n"
	wordPaused  = "paused\n"

	// becomeReady is how long a successor may take to serve.
	becomeReady = time.Minute
	// answerTime is how long the running edge may take for an answer.
	answerTime = 10 * time.Second
)

// NoHandover as the path of a hand-over socket is none: the edge neither takes over
// from another one nor lets one take over.
const NoHandover = "none"

// estate is what the running edge tells of its listeners.
type estate struct {
	Version   int      `json:"version"`
	PID       int      `json:"pid"`
	Manner    manner   `json:"manner"`
	Listeners []string `json:"listeners"` // their names, in the order of the descriptors
}

// prior is the running edge, to the one that takes over from it.
type prior struct {
	pid       int
	manner    manner
	conn      net.Conn
	listeners []*listener
}

// take returns the listener of a name, nil for none; it is the caller's then. Of
// several with the same name, which port 0 makes possible, each is taken once.
func (p *prior) take(name string) *listener {
	if p == nil {
		return nil
	}
	i := slices.IndexFunc(p.listeners, func(l *listener) bool { return l.name == name })
	if i < 0 {
		return nil
	}
	l := p.listeners[i]
	p.listeners = slices.Delete(p.listeners, i, i+1)
	return l
}

// serving tells the running edge that it may leave, and waits until it takes no more
// connections.
func (p *prior) serving() error {
	_ = p.conn.SetDeadline(time.Now().Add(answerTime))
	if _, err := p.conn.Write([]byte(wordServing)); err != nil {
		return err
	}
	_, err := awaitWord(p.conn, wordPaused)
	return err
}

// close closes what was not taken. Where serving was not said, the running edge goes
// on as before.
func (p *prior) close() {
	if p == nil {
		return
	}
	_ = p.conn.Close()
	for _, l := range p.listeners {
		_ = l.Close()
	}
	p.listeners = nil
}

// awaitWord reads a word, and tells what came in its place.
func awaitWord(conn net.Conn, word string) (got string, err error) {
	buf := make([]byte, len(word))
	for n := 0; n < len(word); {
		read, err := conn.Read(buf[n:])
		if n += read; err != nil {
			return string(buf[:n]), err
		}
	}
	if string(buf) != word {
		return string(buf), fmt.Errorf("hand-over: %q came in place of %q", buf, strings.TrimSpace(word))
	}
	return word, nil
}

// handoverPath is the socket of an edge that listens on an address: in the directory
// of the user's local registry. An edge on a port that the system chooses has none,
// as no other would come to the same.
func handoverPath(given, address string) (string, error) {
	switch given {
	case NoHandover:
		return "", nil
	case "":
	default:
		return filepath.Abs(given)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil || port == "0" || !canHandOver {
		return "", nil
	}
	dir, err := user.UserDir()
	if err != nil {
		return "", fmt.Errorf("directory of the hand-over socket: %w, or another one by --handover, or --handover=%s", err, NoHandover)
	}
	return filepath.Join(dir, "edge-"+strings.NewReplacer("/", "_", "%", "_").Replace(address)+".handover"), nil
}

// successions is what a door needs of its edge.
type successions struct {
	manner manner // that of the edge
	// hold returns the listeners and keeps them as they are until release is called.
	hold func() (all []*listener, release func())
	// pause leaves further connections to the successor.
	pause func()
	// leave ends the edge. It does not wait.
	leave func(successor int)
}

// errNoPrior is the error of a take-over where no edge runs.
var errNoPrior = errors.New("no edge runs there")

// enter is the take-over: nil without an error where there is nobody to take over from.
func enter(path string, log *slog.Logger) (*prior, error) {
	if path == "" {
		return nil, nil
	}
	// One that has just handed over itself closes the connection; its successor is
	// there a moment later.
	deadline := time.Now().Add(answerTime)
	for {
		p, err := takeOver(path)
		switch {
		case err == nil:
			log.Info("taking over", "pid", p.pid, "socket", path)
			return p, nil
		case errors.Is(err, errNoPrior):
			return nil, nil
		case !errors.Is(err, errInterrupted) || time.Now().After(deadline):
			return nil, fmt.Errorf("take over from the edge that runs, by %s: %w", path, err)
		}
		time.Sleep(retryPause)
	}
}

// errInterrupted is the error of a take-over that may be tried again.
var errInterrupted = errors.New("the edge that runs has broken off")

// retryPause is between two attempts to take over.
const retryPause = 50 * time.Millisecond

// checkDir wants a directory in which nobody else can put a socket, and to which nobody
// else says the way.
func checkDir(path string) error {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return fmt.Errorf("--handover %s: %w", path, err)
	case !info.IsDir():
		return fmt.Errorf("--handover %s: %s is not a directory", path, dir)
	case !ours(info):
		return fmt.Errorf("--handover %s: others can put a socket into %s: name a directory of this user's that only this user can write to", path, dir)
	}
	if err := checkWay(dir, maxLinks); err != nil {
		return fmt.Errorf("--handover %s: %w", path, err)
	}
	return nil
}

// maxLinks bounds the symbolic links on a way, as the kernel does.
const maxLinks = 40

// checkWay wants a way on which nobody else can put something in the place of a
// directory or a symbolic link.
func checkWay(path string, links int) error {
	parent := filepath.Dir(path)
	if parent != path {
		if err := checkWay(parent, links); err != nil {
			return err
		}
	}
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return err
	case !isFirm(info):
		return fmt.Errorf("others can lead the way by %s elsewhere: name a directory that is below none of theirs", path)
	case info.Mode()&fs.ModeSymlink == 0:
		return nil
	case links == 0:
		return fmt.Errorf("%s: too many symbolic links", path)
	}
	target, err := os.Readlink(path)
	if err != nil {
		return err
	}
	if !filepath.IsAbs(target) {
		if parent, err = filepath.EvalSymlinks(parent); err != nil {
			return err
		}
		target = filepath.Join(parent, target)
	}
	return checkWay(target, links-1)
}
