package local

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
)

// maxPath is the longest path of a socket that all systems take: macOS has 104
// bytes for it with the zero at its end, Linux 108.
const maxPath = 103

// listen opens a socket in the directory. The file stays when it is closed.
func listen(dir, name string) (l *net.UnixListener, err error) {
	err = withPath(dir, name, func(path string) error {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		return err
	})
	if err == nil {
		l.SetUnlinkOnClose(false)
	}
	return l, err
}

func dial(ctx context.Context, dir, name string) (conn net.Conn, err error) {
	err = withPath(dir, name, func(path string) error {
		conn, err = new(net.Dialer).DialContext(ctx, "unix", path)
		return err
	})
	return conn, err
}

// withPath calls f with a path of the file that a socket address has room for:
// on Linux a long one is reached through the open directory.
func withPath(dir, name string, f func(path string) error) error {
	path := filepath.Join(dir, name)
	if len(path) <= maxPath {
		return f(path)
	}
	if runtime.GOOS != "linux" {
		return fmt.Errorf("path of %d bytes is too long for a socket, which has %d: choose a shorter directory with the registry local:DIR", len(path), maxPath)
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return f(filepath.Join("/proc/self/fd", strconv.FormatUint(uint64(d.Fd()), 10), name))
}
