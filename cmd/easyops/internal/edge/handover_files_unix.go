//go:build unix

package edge

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"syscall"
)

// ours tells whether a directory is of our own user, and no other can put anything
// into it. Where the kernel does not tell who connects, no other may enter it either.
func ours(dir fs.FileInfo) bool {
	others := fs.FileMode(0o022)
	if runtime.GOOS != "linux" {
		others = 0o077
	}
	stat, ok := dir.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid() && dir.Mode().Perm()&others == 0
}

// isInUse tells whether something listens at an address already.
func isInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
