package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// What --against may begin with, to say what it names. Git has no ref with a
// colon in its name.
const (
	asRef  = "ref:"
	asFile = "file:"
)

// view is what was read.
type view struct {
	rules []rule
	files set // .proto files that they are from, absolute
}

// past is what a view is compared with.
type past struct {
	rules []rule
	at    *commitTree // nil where it was a file
}

type set map[string]bool

// now reads the rules as they are.
func (r accessRequest) now(ctx context.Context, in io.Reader, tree protoTree) (view, error) {
	if r.descriptorSet == "" {
		return tree.rules(ctx)
	}
	text, err := readInput(in, r.descriptorSet)
	if err != nil {
		return view{}, err
	}
	rules, err := rulesOfSet(text)
	if err != nil {
		return view{}, fmt.Errorf("%s: %w", r.descriptorSet, err)
	}
	return view{rules: rules}, nil
}

// before reads the rules to compare with.
func (r accessRequest) before(ctx context.Context, in io.Reader, warn io.Writer, tree protoTree) (past, error) {
	name, file, err := r.named(ctx, tree)
	if err != nil {
		return past{}, fmt.Errorf("--against %s: %w", r.against, err)
	}
	if file {
		rules, err := rulesOfInput(in, name)
		return past{rules: rules}, err
	}
	p, err := rulesAt(ctx, warn, tree, name)
	switch {
	case err != nil && name == r.against && (errors.Is(err, errNoCommit) || errors.Is(err, errNoRepository)):
		err = fmt.Errorf("--against %s: it is no file, and %w", r.against, err)
	case err != nil:
		err = fmt.Errorf("--against %s: %w", r.against, err)
	}
	return p, err
}

// named returns what --against names, and whether it is a file. A name of both
// is refused: otherwise a change that adds the file, or the branch, would choose
// what it is compared with.
func (r accessRequest) named(ctx context.Context, tree protoTree) (name string, file bool, err error) {
	if name, file = strings.CutPrefix(r.against, asFile); file {
		return name, true, nil
	}
	name, ref := strings.CutPrefix(r.against, asRef)
	if !ref {
		info, err := os.Stat(name)
		file = name == "-" || err == nil && info.Mode().IsRegular()
	}
	switch {
	case r.descriptorSet != "" && !file:
		return "", false, errors.New("it is no file, and a descriptor set has no history: name .proto files to compare them with a commit")
	case !file || name == "-" || r.descriptorSet != "":
		return name, file, nil
	}
	commit, err := isCommit(ctx, tree.paths[0], name)
	if err == nil && commit {
		err = fmt.Errorf("there are a file and a commit of this name: write %s%[2]s or %[3]s%[2]s", asRef, name, asFile)
	}
	return name, true, err
}

// rulesOfInput reads the rules in a descriptor set or in JSON.
func rulesOfInput(in io.Reader, name string) ([]rule, error) {
	text, err := readInput(in, name)
	if err != nil {
		return nil, err
	}
	read := rulesOfSet
	if strings.HasPrefix(strings.TrimSpace(string(text[:min(len(text), 64)])), "{") {
		read = rulesOfJSON
	}
	rules, err := read(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return rules, nil
}

// readInput reads a file, or the standard input where it is "-".
func readInput(in io.Reader, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(in)
	}
	return os.ReadFile(name)
}

// rulesAt reads the rules of the same paths as they were at a commit. Paths that
// were not there then hold nothing, which is said. Whoever interrupts it finds no
// files of the commit left.
func rulesAt(ctx context.Context, warn io.Writer, now protoTree, ref string) (past, error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	temp, err := os.MkdirTemp("", "easyops-access-")
	if err != nil {
		return past{}, err
	}
	defer os.RemoveAll(temp)
	if temp, err = realPath(temp); err != nil {
		return past{}, err
	}
	p, err := readCommit(ctx, warn, now, ref, temp)
	if ctx.Err() != nil {
		return past{}, context.Cause(ctx)
	}
	return p, err
}

// readCommit does it by way of a directory.
func readCommit(ctx context.Context, warn io.Writer, now protoTree, ref, temp string) (past, error) {
	r, err := openRepository(ctx, now.paths[0])
	if err != nil {
		return past{}, err
	}
	commit, err := r.resolve(ctx, ref)
	if err != nil {
		return past{}, err
	}
	if now.links, err = r.submodules(ctx); err != nil {
		return past{}, err
	}
	for _, path := range now.paths {
		if _, err := now.sources(path); err != nil {
			return past{}, err
		}
	}
	at, err := r.extract(ctx, commit, temp)
	if err != nil {
		return past{}, err
	}
	then := protoTree{top: temp, past: true, links: at.links}
	if then.paths, err = r.moved(now.paths, temp, at.links, func(path string) {
		fmt.Fprintf(warn, "easyops: %s was not there at %s: all of its methods count as new\n", path, ref)
	}); err != nil {
		return past{}, err
	}
	if then.includes, err = r.movedIncludes(now.includes, temp); err != nil {
		return past{}, err
	}
	v, err := then.rules(ctx)
	if err != nil {
		return past{}, err
	}
	if len(v.rules) == 0 && len(then.paths) > 0 {
		fmt.Fprintf(warn, "easyops: there were no methods at %s: all count as new\n", ref)
	}
	at.read = v.files
	return past{v.rules, at}, nil
}
