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

// isFirm tells whether only our own user, and who may do everything here, can put
// something in the place of what is on a way: it is theirs, and in a directory that
// others can write to each can remove only what is theirs.
func isFirm(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) != os.Geteuid() && stat.Uid != 0 && stat.Uid != ownerOfAll() {
		return false
	}
	return !info.IsDir() || info.Mode()&fs.ModeSticky != 0 || info.Mode().Perm()&0o022 == 0
}

// ownerOfAll is whose the root directory is: root, which in some containers has
// another number.
func ownerOfAll() uint32 {
	if info, err := os.Stat("/"); err == nil {
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			return stat.Uid
		}
	}
	return 0
}

// isInUse tells whether something listens at an address already.
func isInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
