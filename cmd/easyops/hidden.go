package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/bufbuild/protocompile/parser"
	"github.com/bufbuild/protocompile/reporter"
)

// hidden fails where a method that seems to have been removed is still declared
// in a .proto file that is not looked at any more, as a change of buf.yaml or a
// move to node_modules brings about. Nothing can be told of such a method.
func (p past) hidden(ctx context.Context, tree protoTree, now view, changes []change) error {
	gone := map[string]rule{}
	for _, c := range changes {
		if c.Change == removed {
			gone[c.Before.name()] = *c.Before
		}
	}
	if len(gone) == 0 {
		return nil
	}
	files, err := p.elsewhere(ctx, tree, gone)
	if err != nil {
		return err
	}
	var errs []error
	for _, file := range files {
		if now.files[file] {
			continue
		}
		methods, err := declared(file)
		if err != nil {
			errs = append(errs, fmt.Errorf("it cannot be told whether methods were removed, or are in a file that is not looked at: %w", err))
		}
		for _, method := range methods {
			if _, is := gone[method]; is {
				errs = append(errs, fmt.Errorf("%s was not removed: it is in %s, which is not looked at any more", method, file))
			}
		}
	}
	if more := len(errs) - maxFaults; more > 0 {
		errs = append(errs[:maxFaults], fmt.Errorf("and %d more", more))
	}
	return errors.Join(errs...)
}

// elsewhere returns the files that methods may have been hidden in.
func (p past) elsewhere(ctx context.Context, tree protoTree, gone map[string]rule) ([]string, error) {
	if p.at != nil {
		return p.at.elsewhere(ctx)
	}
	var all []string
	for _, path := range tree.paths {
		path, err := realPath(path)
		if err != nil {
			return nil, err
		}
		files, err := namesakes(path, gone)
		if err != nil {
			return nil, err
		}
		all = append(all, files...)
	}
	return unique(all), nil
}

// elsewhere returns the files of the work tree that were looked at then, or were
// not there. Others that are not looked at now were not then either: copies of
// what others own, say.
func (t *commitTree) elsewhere(ctx context.Context) (files []string, err error) {
	list, err := t.repository.git(ctx, nil, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--full-name", "--", "*.proto")
	if err != nil {
		return nil, err
	}
	for name := range strings.SplitSeq(string(list), "\x00") {
		name = filepath.FromSlash(name)
		if t.protos[name] && !t.read[filepath.Join(t.dir, name)] {
			continue
		}
		file := filepath.Join(t.repository.top, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			files = append(files, file)
		}
	}
	return unique(files), nil
}

// namesakes returns the files below a path by whose names methods went. It
// looks everywhere.
func namesakes(path string, gone map[string]rule) (files []string, err error) {
	names := set{}
	for _, r := range gone {
		names["/"+r.File] = true
	}
	err = filepath.WalkDir(path, func(p string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == ".git":
			return filepath.SkipDir
		case entry.IsDir():
			return nil
		}
		for name := range names {
			if strings.HasSuffix(filepath.ToSlash(p), name) {
				files = append(files, p)
			}
		}
		return nil
	})
	return files, err
}

// declared returns the methods of a .proto file, whose imports need not be there.
func declared(file string) (methods []string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	handler := reporter.NewHandler(nil)
	node, err := parser.Parse(file, f, handler)
	if err != nil {
		return nil, err
	}
	result, err := parser.ResultFromAST(node, false, handler)
	if err != nil {
		return nil, err
	}
	d := result.FileDescriptorProto()
	for _, s := range d.GetService() {
		for _, m := range s.GetMethod() {
			service := strings.TrimPrefix(d.GetPackage()+"."+s.GetName(), ".")
			methods = append(methods, service+"/"+m.GetName())
		}
	}
	return methods, nil
}

// isOptions tells whether a file is a copy of the options of easyops, of
// whichever version: such a file has their name, and no services.
func isOptions(file string) bool {
	methods, err := declared(file)
	return err == nil && len(methods) == 0
}
