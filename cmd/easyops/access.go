package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
)

// accessRequest is what a command line of easyops access asks for.
type accessRequest struct {
	paths         []string // of .proto files and directories
	includes      []string
	descriptorSet string
	against       string // a commit or a file
	compares      bool   // with what against names
	allowNew      bool
	format        string
}

func accessCommand() *cobra.Command {
	var r accessRequest
	c := &cobra.Command{
		Use:   "access [PATH]...",
		Short: "Show who may call each method, and where that was widened.",
		Long: `
Reads the access rules of .proto files and prints who may call each method, what
the rule comes from (the method's option, its service's, or the default), and
the method's timeout. A PATH is a .proto file or a directory (the current one).
Imports are found from the modules of buf.yaml, else from -I and the PATH itself.
Where buf resolves imports from a registry, let it: buf build -o - and
--descriptor-set -.

With --against, it lists the methods whose access has changed since a commit, a
descriptor set, or what --format json has printed earlier. ref:NAME is a commit
and file:NAME a file, whatever else has that name; in CI, say which. Access is
widened where somebody may call who might not before. A method that was added is
widened where it is EVERYONE, unless --allow-new.

The exit code is 0 where nothing was widened, 1 where something was, and 2 where
that cannot be told. Rules that a program sets by WithAccess are not in .proto
files, and not looked at.`,
		Example: `  easyops access
  easyops access --against origin/main
  easyops access --against ref:refs/remotes/origin/main
  easyops access --format json proto > access.json
  buf build -o - | easyops access --descriptor-set - --against access.json`,
		RunE: func(c *cobra.Command, args []string) error {
			r.paths = args
			r.compares = c.Flags().Changed("against")
			err := r.run(c.Context(), c.InOrStdin(), c.OutOrStdout(), c.ErrOrStderr())
			if _, ok := errors.AsType[exitError](err); err == nil || ok {
				return err
			}
			return exitError{2, err}
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"proto"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}
	f := c.Flags()
	f.StringVar(&r.against, "against", "", "`commit` or file to compare with, as ref:NAME or file:NAME where it could be both; a file is a descriptor set or JSON of this command")
	f.BoolVar(&r.allowNew, "allow-new", false, "take new methods that are EVERYONE for granted")
	f.StringVar(&r.descriptorSet, "descriptor-set", "", "read a FileDescriptorSet from this `file` instead of .proto files, - for the standard input")
	f.StringVar(&r.format, "format", "table", "`kind` of output: table or json")
	f.StringSliceVarP(&r.includes, "proto-path", "I", nil, "`directory` to find imports in, as of protoc")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.MarkFlagFilename("descriptor-set")
	_ = c.MarkFlagDirname("proto-path")
	return c
}

// run prints the rules, or what has changed of them.
func (r accessRequest) run(ctx context.Context, in io.Reader, out, warn io.Writer) error {
	if err := r.check(); err != nil {
		return usagef("access: %w", err)
	}
	tree := protoTree{paths: r.paths, includes: r.includes}
	if len(tree.paths) == 0 {
		tree.paths = []string{"."}
	}
	now, err := r.now(ctx, in, tree)
	if err != nil {
		return err
	}
	if !r.compares {
		return printRules(out, r.format, now.rules)
	}
	before, err := r.before(ctx, in, warn, tree)
	if err != nil {
		return err
	}
	changes := compare(before.rules, now.rules, r.allowNew)
	if r.descriptorSet == "" {
		if err := before.hidden(ctx, tree, now, changes); err != nil {
			return err
		}
	}
	if err := printChanges(out, r.format, changes); err != nil {
		return err
	}
	return widened(changes, r.against)
}

func (r accessRequest) check() error {
	switch {
	case r.format != "table" && r.format != "json":
		return fmt.Errorf("there is no format %q: it is table or json", r.format)
	case r.descriptorSet != "" && len(r.paths) > 0:
		return errors.New("name a descriptor set or .proto files, not both")
	case r.descriptorSet == "-" && r.against == "-":
		return errors.New("only one of --descriptor-set and --against can be the standard input")
	case r.compares && (r.against == "" || r.against == asRef || r.against == asFile):
		return errors.New("--against is empty: name a commit or a file")
	case r.allowNew && !r.compares:
		return errors.New("--allow-new goes with --against")
	}
	return nil
}

// widened is the error where access was.
func widened(changes []change, against string) error {
	n := len(slices.DeleteFunc(slices.Clone(changes), func(c change) bool { return !c.Widened }))
	switch n {
	case 0:
		return nil
	case 1:
		return exitError{1, fmt.Errorf("1 method lets in callers that it did not at %s", against)}
	}
	return exitError{1, fmt.Errorf("%d methods let in callers that they did not at %s", n, against)}
}
