package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// repository is a work tree of git.
type repository struct{ top string }

// Why a name is no commit.
var (
	errNoRepository = errors.New("there is no git repository to find a commit in")
	errNoCommit     = errors.New("git knows no such commit: in CI, fetch it first (git fetch origin main, or fetch-depth: 0)")
)

// openRepository finds the work tree that a path is in. One that lies in the
// work tree of the current directory is refused: where a change makes a submodule
// of a directory, names mean other commits there.
func openRepository(ctx context.Context, path string) (*repository, error) {
	top, err := topOf(ctx, path)
	if err != nil {
		return nil, err
	}
	if here, err := topOf(ctx, "."); err == nil && here != top && within(top, here) {
		return nil, fmt.Errorf("%s is in another git repository than the current directory, %s: run easyops in it", path, top)
	}
	return &repository{top}, nil
}

func topOf(ctx context.Context, path string) (string, error) {
	dir, err := realPath(path)
	if err != nil {
		return "", err
	}
	if filepath.Ext(dir) == ".proto" {
		dir = filepath.Dir(dir)
	}
	out, err := (&repository{dir}).git(ctx, nil, "rev-parse", "--show-toplevel")
	switch {
	case err == nil:
		return realPath(strings.TrimSuffix(string(out), "\n"))
	case errors.Is(err, exec.ErrNotFound), strings.Contains(err.Error(), "not a git repository"):
		return "", fmt.Errorf("%w: %w", errNoRepository, err)
	}
	return "", err
}

// resolve returns the commit that a name means to git, if it means but one.
func (r *repository) resolve(ctx context.Context, ref string) (string, error) {
	// Without --quiet: git says only there that it has chosen one.
	out, said, err := r.gitSays(ctx, nil, "-c", "core.warnAmbiguousRefs=true", "rev-parse", "--verify", "--end-of-options", ref+"^{commit}")
	switch {
	case err != nil:
		return "", errNoCommit
	case bytes.Contains(said, []byte("is ambiguous")):
		return "", fmt.Errorf("more than one branch, tag or commit has this name: write all of it, as in %srefs/remotes/origin/main", asRef)
	}
	return strings.TrimSpace(string(out)), nil
}

// isCommit tells whether a name means any commit in the repository that a path
// is in, if it is in one.
func isCommit(ctx context.Context, path, name string) (bool, error) {
	r, err := openRepository(ctx, path)
	if errors.Is(err, errNoRepository) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = r.resolve(ctx, name)
	return !errors.Is(err, errNoCommit), nil
}

// submodules returns those of the work tree, by their directories.
func (r *repository) submodules(ctx context.Context) (map[string]string, error) {
	list, err := r.git(ctx, nil, "ls-files", "-z", "--stage")
	if err != nil {
		return nil, err
	}
	links := map[string]string{}
	for line := range strings.SplitSeq(string(list), "\x00") {
		if about, name, _ := strings.Cut(line, "\t"); strings.HasPrefix(about, gitLink) {
			links[filepath.Join(r.top, filepath.FromSlash(name))] = name
		}
	}
	return links, nil
}

// moved returns where paths of the work tree are below another directory. Those
// that are not there are left out and told, those in submodules refused.
func (r *repository) moved(paths []string, dir string, links map[string]string, missing func(string)) (moved []string, err error) {
	for _, p := range paths {
		absolute, err := realPath(p)
		if err != nil {
			return nil, err
		}
		if !within(absolute, r.top) {
			return nil, fmt.Errorf("%s is outside of the git repository %s", p, r.top)
		}
		rel, err := filepath.Rel(r.top, absolute)
		if err != nil {
			return nil, err
		}
		to := filepath.Join(dir, rel)
		if err := inSubmodule(links, to); err != nil {
			return nil, err
		}
		if _, err := os.Stat(to); errors.Is(err, fs.ErrNotExist) {
			missing(p)
			continue
		}
		moved = append(moved, to)
	}
	return moved, nil
}

// movedIncludes does it for directories of imports. Those that are not in the
// repository are the same now and then.
func (r *repository) movedIncludes(includes []string, dir string) (moved []string, err error) {
	for _, include := range includes {
		absolute, err := realPath(include)
		if err != nil {
			return nil, err
		}
		to := []string{absolute}
		if within(absolute, r.top) {
			if to, err = r.moved([]string{include}, dir, nil, func(string) {}); err != nil {
				return nil, err
			}
		}
		moved = append(moved, to...)
	}
	return moved, nil
}

// ofHook tells whether a variable says which repository git works in, as git
// does where it runs hooks. The repository that counts is that of the paths.
func ofHook(variable string) bool {
	name, _, _ := strings.Cut(variable, "=")
	return slices.Contains([]string{"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"}, name)
}

// git runs git in the work tree. Its error is what git says.
func (r *repository) git(ctx context.Context, in io.Reader, args ...string) ([]byte, error) {
	out, _, err := r.gitSays(ctx, in, args...)
	return out, err
}

// gitSays returns as well what git says on its standard error.
func (r *repository) gitSays(ctx context.Context, in io.Reader, args ...string) (out, said []byte, err error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.WaitDelay = time.Second // for what git has started
	cmd.Dir, cmd.Stdin, cmd.Stderr = r.top, in, &stderr
	cmd.Env = append(slices.DeleteFunc(os.Environ(), ofHook), "LC_ALL=C") // what it says is looked at
	out, err = cmd.Output()
	if err != nil {
		err = fmt.Errorf("git %s: %w: %s", args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, stderr.Bytes(), err
}
