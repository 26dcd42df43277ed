// Easyops is the command line of easyops for developers and operators. Run
// without arguments it lists its commands.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string { return e.err.Error() }
func (e exitError) Unwrap() error { return e.err }

// usagef is a wrong command line, as opposed to a command that fails.
func usagef(format string, args ...any) error {
	return exitError{2, fmt.Errorf(format, args...)}
}

// run executes a command line. It returns the exit code: 1 where the command
// failed, 2 where the command line is wrong.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := rootCommand(stdin, stdout, stderr)
	root.SetArgs(familiar(args))
	if len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		plainUsage(root)
	}
	err := root.Execute()
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "easyops: %s\n", strings.TrimPrefix(err.Error(), "easyops: ")) // servers say it themselves
	if e, ok := errors.AsType[exitError](err); ok {
		return e.code
	}
	return 1
}

// familiar turns what other programs take in the first place into what this one
// takes.
func familiar(args []string) []string {
	if len(args) == 0 {
		return []string{} // nil would stand for os.Args
	}
	switch args[0] {
	case "-help":
		return append([]string{"--help"}, args[1:]...)
	case "-version", "--version":
		return append([]string{"version"}, args[1:]...)
	case "edge":
		return append([]string{"edge"}, serverFlags(args[1:])...)
	}
	return args
}

// rootCommand returns the command that all others are under. Nothing of it is
// shared with another call.
func rootCommand(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	root := group("easyops", "easyops helps to build and operate services.", "",
		accessCommand(),
		group("ca", "A small certificate authority for services.", caHelp, caNewCommand(), caIssueCommand()),
		group("keys", "Keys that sign tokens.", keysHelp, keysNewCommand(), keysRotateCommand(), keysRetireCommand()),
		cacheCommand(),
		callersCommand(),
		connsCommand(),
		drainCommand(),
		edgeCommand(),
		exportCommand(),
		flagsCommand(),
		lsCommand(),
		openCommand(),
		protoCommand(),
		shutdownCommand(),
		statusCommand(),
		targetCommand(),
		tokenCommand(),
		undrainCommand(),
		versionCommand(),
	)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(func(c *cobra.Command, _ []string) { help(c.OutOrStdout(), c) })
	root.SetHelpCommand(helpCommand())
	root.InitDefaultCompletionCmd()
	if completion, _, err := root.Find([]string{"completion"}); err == nil {
		onlyHolds(completion)
		completion.Use = "completion SHELL"
		completion.Short = "Print what makes bash, fish, powershell or zsh complete command lines."
	}
	finish(root)
	return root
}

// groupUse is what comes behind the name of a command that only holds others.
const groupUse = " COMMAND"

// group is a command that only holds others.
func group(name, summary, long string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: name + groupUse, Short: summary, Long: long}
	c.AddCommand(commands...)
	onlyHolds(c)
	return c
}

// onlyHolds makes a command explain itself, and those it holds.
func onlyHolds(c *cobra.Command) {
	c.SuggestionsMinimumDistance = 2
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return noCommand(c, args[0])
		}
		return nil
	}
}

// finish makes all commands alike: flags keep their order and have values, and
// wrong arguments are usage errors.
func finish(c *cobra.Command) {
	c.DisableFlagsInUseLine = true
	c.Flags().SortFlags = false
	check := c.Args
	if check == nil {
		check = cobra.ArbitraryArgs
	}
	c.Args = func(c *cobra.Command, args []string) error {
		if err := cmp.Or(valuesForgotten(c), check(c, args)); err != nil {
			return usagef("%w", err)
		}
		return nil
	}
	for _, sub := range c.Commands() {
		finish(sub)
	}
}

// oneArgument wants exactly one, and shows how it is meant where there is none.
func oneArgument(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("%s: name one %s, as in: %s", words(c), what, firstExample(c))
		}
		return nil
	}
}

func noArguments(c *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case c.Flags().NFlag() > 0: // it may belong to the value of one
		return fmt.Errorf("%s takes no arguments, and got %q: quote values with spaces", words(c), args[0])
	}
	return fmt.Errorf("%s takes no arguments, and got %q", words(c), args[0])
}
