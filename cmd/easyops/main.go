// Easyops is the command line of easyops for developers and operators. Run
// without arguments it lists its commands.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// command is one of the words that can follow "easyops".
type command struct {
	name    string
	args    string // as in usage lines
	summary string // one line
	help    string // paragraphs, may be empty
	flags   func(*flag.FlagSet)
	run     func(streams, []string) error
}

// streams are where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// usageError is a wrong command line, as opposed to a command that fails.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

func commands() []command {
	return []command{protoCommand(), versionCommand()}
}

// run executes a command line. It returns the exit code: 1 where the command
// failed, 2 where the command line is wrong.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	err := dispatch(args, streams{stdin, stdout, stderr})
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "easyops: %v\n", err)
	if _, wrong := errors.AsType[usageError](err); wrong {
		return 2
	}
	return 1
}

func dispatch(args []string, s streams) error {
	if len(args) == 0 {
		return list(s.out)
	}
	name, rest := args[0], args[1:]
	switch name {
	case "-h", "-help", "--help", "help":
		if len(rest) == 0 {
			return list(s.out)
		}
		name, rest = rest[0], []string{"-h"}
	case "-version", "--version":
		name = "version"
	}
	for _, c := range commands() {
		if c.name == name {
			return c.execute(s, rest)
		}
	}
	return usagef("there is no command %q: run easyops help for those there are", name)
}

// execute parses the flags, which may stand before and after the arguments.
func (c command) execute(s streams, args []string) error {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	if c.flags != nil {
		c.flags(fs)
	}
	var plain []string
	for {
		err := fs.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			return c.usage(s.out, fs)
		}
		if err != nil {
			return usagef("%s: %v: run easyops help %s", c.name, err, c.name)
		}
		rest := fs.Args()
		if len(rest) == 0 {
			return c.run(s, plain)
		}
		if len(args) > len(rest) && args[len(args)-len(rest)-1] == "--" {
			return c.run(s, append(plain, rest...))
		}
		plain, args = append(plain, rest[0]), rest[1:]
	}
}

func (c command) usage(w io.Writer, fs *flag.FlagSet) error {
	fmt.Fprintf(w, "%s\n\nUsage: %s\n", c.summary, c.line())
	if c.help != "" {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(c.help))
	}
	if c.flags != nil {
		fmt.Fprintln(w, "\nFlags:")
		fs.SetOutput(w)
		fs.PrintDefaults()
	}
	return nil
}

func (c command) line() string {
	return strings.TrimSpace("easyops " + c.name + " " + c.args)
}

// list prints what there is.
func list(w io.Writer) error {
	fmt.Fprint(w, "easyops helps to build and operate services.\n\nUsage: easyops COMMAND\n\nCommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-16s %s\n", strings.TrimSpace(c.name+" "+c.args), c.summary)
	}
	_, err := fmt.Fprintln(w, "\nRun easyops help COMMAND for more on one of them.")
	return err
}
