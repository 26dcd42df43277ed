package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// rulesAt reads the rules of the same paths as they were at a commit. Paths that
// were not there then hold nothing, which is said.
func rulesAt(ctx context.Context, warn io.Writer, now protoTree, ref string) ([]rule, error) {
	temp, err := os.MkdirTemp("", "easyops-access-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	if temp, err = realPath(temp); err != nil {
		return nil, err
	}
	r, err := openRepository(ctx, now.paths[0])
	if err != nil {
		return nil, err
	}
	if err := r.extract(ctx, ref, temp); err != nil {
		return nil, err
	}
	then := protoTree{top: temp, past: true}
	if then.paths, err = r.moved(now.paths, temp, func(path string) {
		fmt.Fprintf(warn, "easyops: %s was not there at %s: all of its methods count as new\n", path, ref)
	}); err != nil {
		return nil, err
	}
	if then.includes, err = r.movedIncludes(now.includes, temp); err != nil {
		return nil, err
	}
	rules, err := then.rules(ctx)
	if err == nil && len(rules) == 0 && len(then.paths) > 0 {
		fmt.Fprintf(warn, "easyops: there were no methods at %s: all count as new\n", ref)
	}
	return rules, err
}

// repository is a work tree of git.
type repository struct{ top string }

// openRepository finds the work tree that a path is in.
func openRepository(ctx context.Context, path string) (*repository, error) {
	dir, err := realPath(path)
	if err != nil {
		return nil, err
	}
	if filepath.Ext(dir) == ".proto" {
		dir = filepath.Dir(dir)
	}
	out, err := (&repository{dir}).git(ctx, nil, "rev-parse", "--show-toplevel")
	if err != nil {
		return nil, fmt.Errorf("it is no file, and there is no git repository to find a commit in: %w", err)
	}
	top, err := realPath(strings.TrimSuffix(string(out), "\n"))
	return &repository{top}, err
}

// moved returns where paths of the work tree are below another directory. Those
// that are not there are left out and told.
func (r *repository) moved(paths []string, dir string, missing func(string)) (moved []string, err error) {
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
			if to, err = r.moved([]string{include}, dir, func(string) {}); err != nil {
				return nil, err
			}
		}
		moved = append(moved, to...)
	}
	return moved, nil
}

// extract writes the files of a commit that say anything of .proto files.
func (r *repository) extract(ctx context.Context, ref, dir string) error {
	commit, err := r.git(ctx, nil, "rev-parse", "--verify", "--quiet", "--end-of-options", ref+"^{commit}")
	if err != nil {
		return errors.New("it is no file, and git knows no such commit: in CI, fetch it first (git fetch origin main, or fetch-depth: 0)")
	}
	list, err := r.git(ctx, nil, "ls-tree", "-r", "-z", "--full-tree", strings.TrimSpace(string(commit)))
	if err != nil {
		return err
	}
	var entries []gitEntry
	var ids bytes.Buffer
	for line := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		if e, ok := parseEntry(line); ok {
			entries = append(entries, e)
			fmt.Fprintln(&ids, e.id)
		}
	}
	blobs, err := r.git(ctx, &ids, "cat-file", "--batch")
	if err != nil {
		return err
	}
	return writeBlobs(dir, entries, bufio.NewReader(bytes.NewReader(blobs)))
}

// gitEntry is a file of a commit.
type gitEntry struct {
	id, path string
	link     bool
}

// parseEntry reads a line of git ls-tree, and tells whether the file matters.
func parseEntry(line string) (e gitEntry, matters bool) {
	about, name, _ := strings.Cut(line, "\t")
	fields := strings.Fields(about)
	if len(fields) != 3 || fields[1] != "blob" {
		return e, false
	}
	e = gitEntry{id: fields[2], path: name, link: fields[0] == "120000"}
	base := path.Base(name)
	return e, e.link || path.Ext(base) == ".proto" || base == bufFile || base == bufWorkFile
}

// writeBlobs writes the output of git cat-file --batch. No path and no link of
// a commit leads out of the directory.
func writeBlobs(dir string, entries []gitEntry, blobs *bufio.Reader) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, e := range entries {
		data, err := readBlob(blobs)
		if err != nil {
			return fmt.Errorf("git cat-file: %s: %w", e.path, err)
		}
		name := filepath.FromSlash(e.path)
		if err := root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return err
		}
		switch {
		case !e.link:
			err = root.WriteFile(name, data, 0o600)
		case !path.IsAbs(string(data)) && filepath.IsLocal(filepath.Join(filepath.Dir(name), string(data))):
			err = root.Symlink(string(data), name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readBlob reads "ID blob SIZE\nDATA\n".
func readBlob(r *bufio.Reader) ([]byte, error) {
	head, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	var id string
	var size int64
	if _, err := fmt.Sscanf(head, "%s blob %d", &id, &size); err != nil {
		return nil, fmt.Errorf("%q: %w", head, err)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, err
	}
	_, err = r.Discard(1)
	return data, err
}

// ofHook tells whether a variable says which repository git works in, as git
// does where it runs hooks. The repository that counts is that of the paths.
func ofHook(variable string) bool {
	name, _, _ := strings.Cut(variable, "=")
	return slices.Contains([]string{"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"}, name)
}

// git runs git in the work tree. Its error is what git says.
func (r *repository) git(ctx context.Context, in io.Reader, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.Stdin, cmd.Env = r.top, in, slices.DeleteFunc(os.Environ(), ofHook)
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, fmt.Errorf("git %s: %w: %s", args[0], err, bytes.TrimSpace(exit.Stderr))
	}
	return out, err
}
