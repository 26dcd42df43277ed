package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"
)

// workspace is what buf.yaml says of where .proto files are.
type workspace struct {
	modules  []string // directories that imports are relative to, absolute
	excluded []string // directories that buf does not read, absolute
	closed   bool     // only what is in the modules counts, as for buf

	links map[string]string // submodules that must not be entered, by their directories
}

// The files in which buf describes workspaces.
const (
	bufFile     = "buf.yaml"
	bufWorkFile = "buf.work.yaml" // of version 1
)

// bufConfig is the part of both files, in all versions, that says where .proto
// files are.
type bufConfig struct {
	Modules []struct {
		Path     string   `yaml:"path"`
		Excludes []string `yaml:"excludes"` // relative to buf.yaml
	} `yaml:"modules"`
	Build struct {
		Roots    []string `yaml:"roots"`
		Excludes []string `yaml:"excludes"`
	} `yaml:"build"`
	Directories []string `yaml:"directories"`
}

// workspaceAbove returns the workspace that a path belongs to, as the nearest
// directory above it says, but none above top. Where none does, it is empty. A
// path that lies beside all modules is no part of it, but finds imports there.
func workspaceAbove(path, top string) (*workspace, error) {
	w := &workspace{}
	for _, file := range []string{bufWorkFile, bufFile} {
		for dir := path; ; dir = filepath.Dir(dir) {
			if err := w.read(dir, file); err != nil || len(w.modules) > 0 {
				w.closed = w.reaches(path)
				return w, err
			}
			if dir == top || dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return w, nil
}

// enter takes up what a directory on the way says of itself, and tells whether
// there is anything to be found in it.
func (w *workspace) enter(dir string) (bool, error) {
	if slices.Contains(skipped, filepath.Base(dir)) || slices.Contains(w.excluded, dir) {
		return false, nil
	}
	if w.closed && !w.reaches(dir) {
		return false, nil
	}
	if name, is := w.links[dir]; is {
		return false, submodule(name)
	}
	if w.closed {
		return true, nil
	}
	for _, file := range []string{bufWorkFile, bufFile} {
		if err := w.read(dir, file); err != nil {
			return false, err
		}
	}
	return true, nil
}

// reaches tells whether a path lies in a module, or a module in it.
func (w *workspace) reaches(path string) bool {
	return slices.ContainsFunc(w.modules, func(m string) bool { return within(path, m) || within(m, path) })
}

// skipped are directories that hold nothing of the user's own.
var skipped = []string{".git", "node_modules"}

// read adds the modules that a file in a directory names, if it is there.
func (w *workspace) read(dir, file string) error {
	path := filepath.Join(dir, file)
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var c bufConfig
	if err := yaml.Unmarshal(text, &c); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	w.add(dir, c)
	return nil
}

// add adds the modules of a directory, unless it is in one already.
func (w *workspace) add(dir string, c bufConfig) {
	modules, excluded := slices.Concat(c.Directories, c.Build.Roots), c.Build.Excludes
	for _, m := range c.Modules {
		modules, excluded = append(modules, m.Path), append(excluded, m.Excludes...)
	}
	if len(modules) == 0 {
		modules = []string{"."}
	}
	w.excluded = unique(w.excluded, below(dir, excluded))
	if !slices.ContainsFunc(w.modules, func(m string) bool { return within(dir, m) }) {
		w.modules = unique(w.modules, below(dir, modules))
	}
}

// below returns the paths of what is named relative to a directory.
func below(dir string, names []string) (paths []string) {
	for _, name := range names {
		paths = append(paths, filepath.Join(dir, filepath.FromSlash(name)))
	}
	return paths
}
