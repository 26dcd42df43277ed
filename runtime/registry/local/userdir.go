package local

// UserDir returns the directory of this user's registry, which it makes where it is
// not there: for what else the processes of a user find each other by. Nobody else
// can write to it.
func UserDir() (string, error) {
	dir := userDirs()[0]
	return dir, ensureDir(dir)
}
