//go:build unix

package local

import (
	"io/fs"
	"os"
	"syscall"
)

// owned reports whether a file belongs to this user.
func owned(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Getuid()
}

// tooOpen reports whether others could do harm in a directory. The user's own
// is for nobody else; one that the user names may be read by others, who can
// connect to no socket in it.
func tooOpen(info fs.FileInfo, usersOwn bool) bool {
	if usersOwn {
		return info.Mode().Perm() != 0o700
	}
	return info.Mode().Perm()&0o022 != 0
}
