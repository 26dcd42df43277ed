package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"github.com/bufbuild/protocompile/reporter"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	easyopsv1 "github.com/go-easyops/easyops/proto/easyops/v1"
)

// protoTree is where .proto files are.
type protoTree struct {
	paths    []string // files, and directories that hold them, whose services are meant
	includes []string // directories to find imports in
	top      string   // buf.yaml is not looked for above it; "" is the root of the file system
	past     bool     // it may hold nothing

	links map[string]string // submodules, which cannot be compared, by their directories
}

// rules reads the rules of all services in the tree. Each path is compiled by
// itself: two may hold different files of one name.
func (t protoTree) rules(ctx context.Context) (v view, err error) {
	v.files = set{}
	for _, path := range t.paths {
		s, err := t.sources(path)
		if err != nil {
			return view{}, err
		}
		if len(s.names) == 0 && !t.past {
			return view{}, fmt.Errorf("%s holds no .proto files: name them, or a directory that they are in", path)
		}
		if len(s.names) == 0 {
			continue
		}
		compiled, err := s.compile(ctx)
		if err != nil {
			return view{}, err
		}
		of, err := rulesOfSet(compiled)
		if err != nil {
			return view{}, err
		}
		v.rules = append(v.rules, of...)
		for _, file := range s.files {
			v.files[file] = true
		}
	}
	v.rules, err = sorted(v.rules)
	return v, err
}

// sources are .proto files that are compiled together.
type sources struct {
	roots []string // directories that imports are relative to, absolute
	names []string // of the files, relative to their roots
	files []string // the files, absolute
}

// sources finds the files of a path, and the roots that they belong to.
func (t protoTree) sources(path string) (*sources, error) {
	dir, err := realPath(path)
	if err != nil {
		return nil, err
	}
	w, err := workspaceAbove(dir, t.top)
	if err != nil {
		return nil, err
	}
	w.links = t.links
	files, err := w.find(dir)
	if err != nil {
		return nil, err
	}
	roots := slices.Clone(w.modules)
	for _, include := range t.includes {
		if include, err = realPath(include); err != nil {
			return nil, fmt.Errorf("-I: %w", err)
		}
		roots = append(roots, include)
	}
	if !w.closed { // what is in no module is relative to the path
		if filepath.Ext(dir) == ".proto" {
			dir = filepath.Dir(dir)
		}
		roots = append(roots, dir)
	}
	return name(files, unique(roots))
}

// realPath is a path as the walk of a directory has it.
func realPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}

// name names files by the innermost of their roots. A file without a root is
// none of the workspace. Copies of the options of easyops may be in many.
func name(files, roots []string) (*sources, error) {
	s := &sources{roots: roots}
	from := map[string]string{}
	for _, file := range files {
		root := ""
		for _, r := range roots {
			if within(file, r) && len(r) > len(root) {
				root = r
			}
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return nil, err
		}
		rel = filepath.ToSlash(rel)
		if root == "" || rel == easyopsv1.SourcePath && isOptions(file) {
			continue
		}
		if other := from[rel]; other != "" {
			return nil, fmt.Errorf("%s is in %s and in %s: name one of them", rel, other, root)
		}
		from[rel] = root
		s.names, s.files = append(s.names, rel), append(s.files, file)
	}
	return s, nil
}

// find returns the .proto files of a path.
func (w *workspace) find(path string) (files []string, err error) {
	err = filepath.WalkDir(path, func(p string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			if any, err := w.enter(p); err != nil || !any {
				return cmp.Or(err, filepath.SkipDir)
			}
		case filepath.Ext(p) == ".proto":
			files = append(files, p)
		}
		return nil
	})
	return files, err
}

// within tells whether a path is a directory or lies under it. Both are absolute.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// maxFaults is how many errors of .proto files are told.
const maxFaults = 10

// compile returns a FileDescriptorSet of the files without their imports. The
// options of easyops need not be in the tree.
func (s *sources) compile(ctx context.Context) ([]byte, error) {
	var faults []error
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(protocompile.CompositeResolver{
			&protocompile.SourceResolver{ImportPaths: s.roots},
			&protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(map[string]string{easyopsv1.SourcePath: easyopsv1.Source()})},
		}),
		Reporter: reporter.NewReporter(func(err reporter.ErrorWithPos) error {
			faults = append(faults, err)
			return nil
		}, nil),
	}
	files, err := compiler.Compile(ctx, s.names...)
	if err != nil {
		return nil, faultsOf(faults, err)
	}
	set := &descriptorpb.FileDescriptorSet{}
	for _, f := range files {
		set.File = append(set.File, protoutil.ProtoFromFileDescriptor(f))
	}
	return proto.Marshal(set)
}

// unknownOption is the fault of a file that uses the options without importing
// them.
var unknownOption = regexp.MustCompile(`unknown extension easyops\.v1\.(method|service)$`)

// faultsOf returns the first of the faults, else err, and the advice that goes
// with them.
func faultsOf(faults []error, err error) error {
	if len(faults) == 0 {
		faults = []error{err}
	}
	missing := slices.ContainsFunc(faults, func(err error) bool {
		return errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), "file not found")
	})
	unknown := slices.ContainsFunc(faults, func(err error) bool { return unknownOption.MatchString(err.Error()) })
	if more := len(faults) - maxFaults; more > 0 {
		faults = append(faults[:maxFaults], fmt.Errorf("and %d more", more))
	}
	if missing {
		faults = append(faults, errors.New("imports are looked for in the modules of buf.yaml and in -I DIR"))
	}
	if unknown {
		faults = append(faults, fmt.Errorf("files with these options have to import %q: easyops proto DIR writes it", easyopsv1.SourcePath))
	}
	faults = append(faults, errors.New("where buf reads these files, take what it makes of them: buf build -o - | easyops access --descriptor-set -"))
	return errors.Join(faults...)
}
