package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// userDirs returns the directories of this user's registry, the one for our
// own entries first.
func userDirs() (dirs []string) {
	uid := strconv.Itoa(os.Getuid())
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) && isOurs(dir) {
		dirs = append(dirs, filepath.Join(dir, "easyops"))
	}
	dirs = append(dirs, filepath.Join(os.TempDir(), "easyops-"+uid))
	// Where the variable is not set, as under cron, it is for other programs.
	usual := filepath.Join("/run/user", uid)
	if dir := filepath.Join(usual, "easyops"); isOurs(usual) && !slices.Contains(dirs, dir) {
		dirs = append(dirs, dir)
	}
	return dirs
}

func isOurs(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && info.IsDir() && owned(info)
}

// ensureDir makes the directory if it is not there, and returns an error
// unless it is ours alone: whoever can write to it could take our calls.
func ensureDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: choose another directory with the registry local:DIR", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%s is a symbolic link: remove it, or choose another directory with the registry local:DIR", dir)
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory: remove it, or choose another one with the registry local:DIR", dir)
	case !owned(info):
		return fmt.Errorf("%s belongs to another user: choose another directory with the registry local:DIR", dir)
	case tooOpen(info, slices.Contains(userDirs(), dir)):
		return fmt.Errorf("%s is open to other users (mode %04o): run chmod 700 %s", dir, info.Mode().Perm(), dir)
	}
	return nil
}
