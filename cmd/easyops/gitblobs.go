package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// gitLink is the mode of a submodule.
const gitLink = "160000"

// commitTree is what matters of a commit, in a directory.
type commitTree struct {
	repository *repository
	dir        string
	protos     set               // all .proto files, relative
	links      map[string]string // submodules, by their directories in dir
	read       set               // files that were looked at, in dir
}

// extract writes the files of a commit that say anything of .proto files, and
// an empty directory for each submodule.
func (r *repository) extract(ctx context.Context, commit, dir string) (*commitTree, error) {
	list, err := r.git(ctx, nil, "ls-tree", "-r", "-z", "--full-tree", commit)
	if err != nil {
		return nil, err
	}
	t := &commitTree{repository: r, dir: dir, protos: set{}, links: map[string]string{}}
	var entries []gitEntry
	var ids bytes.Buffer
	for line := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		e, matters := parseEntry(line)
		switch name := filepath.FromSlash(e.path); {
		case e.submodule:
			entries = append(entries, e)
			t.links[filepath.Join(dir, name)] = e.path
		case matters:
			entries = append(entries, e)
			t.protos[name] = path.Ext(e.path) == ".proto"
			fmt.Fprintln(&ids, e.id)
		}
	}
	blobs, err := r.git(ctx, &ids, "cat-file", "--batch")
	if err != nil {
		return nil, err
	}
	return t, writeBlobs(dir, entries, bufio.NewReader(bytes.NewReader(blobs)))
}

// gitEntry is a file of a commit, or a submodule.
type gitEntry struct {
	id, path        string
	link, submodule bool
}

// parseEntry reads a line of git ls-tree, and tells whether the file matters.
func parseEntry(line string) (e gitEntry, matters bool) {
	about, name, _ := strings.Cut(line, "\t")
	fields := strings.Fields(about)
	if len(fields) != 3 || fields[1] != "blob" && fields[0] != gitLink {
		return e, false
	}
	e = gitEntry{id: fields[2], path: name, link: fields[0] == "120000", submodule: fields[0] == gitLink}
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
		name := filepath.FromSlash(e.path)
		if e.submodule {
			if err := root.MkdirAll(name, 0o700); err != nil {
				return err
			}
			continue
		}
		data, err := readBlob(blobs)
		if err != nil {
			return fmt.Errorf("git cat-file: %s: %w", e.path, err)
		}
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

// submodule is the error of looking into one.
func submodule(name string) error {
	return fmt.Errorf("%s is a submodule, whose files are in no commit of this repository: name paths beside it, or exclude it in buf.yaml, and compare it in its own repository", name)
}

// inSubmodule fails where a path is or lies in a submodule.
func inSubmodule(links map[string]string, path string) error {
	for dir, name := range links {
		if within(path, dir) {
			return submodule(name)
		}
	}
	return nil
}
