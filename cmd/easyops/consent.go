package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// consent asks before something happens at more than one place.
type consent struct{ yes bool }

func (y *consent) flags(c *cobra.Command) {
	c.Flags().BoolVarP(&y.yes, "yes", "y", false, "do it without asking")
}

// possible is the error where it would have to be asked, and nobody is there to
// answer. It comes before anything is tried.
func (y *consent) possible(c *cobra.Command, what string) error {
	if y.yes || interactive(c.InOrStdin()) {
		return nil
	}
	return y.missing(c, what)
}

func (y *consent) missing(c *cobra.Command, what string) error {
	return usagef("%s: this would %s, and nobody answers whether it may: add --yes", words(c), what)
}

// ask asks, unless --yes was there. Nil is yes.
func (y *consent) ask(c *cobra.Command, what string) error {
	if y.yes {
		return nil
	}
	line, err := prompt(c, strings.ToUpper(what[:1])+what[1:]+"? [y/N] ")
	switch strings.ToLower(line) {
	case "y", "yes":
		return nil
	case "":
		if err != nil {
			return y.missing(c, what)
		}
	}
	return errors.New("nothing was changed")
}

// prompt asks on standard error, as the standard output may be for a program.
func prompt(c *cobra.Command, question string) (string, error) {
	fmt.Fprint(c.ErrOrStderr(), printable(question))
	line, err := bufio.NewReader(c.InOrStdin()).ReadString('\n')
	if err != nil {
		fmt.Fprintln(c.ErrOrStderr())
	}
	return strings.TrimSpace(line), err
}

// interactive tells whether a person is at the other end, as far as that can be
// told: whether it is a terminal, or some such device.
func interactive(stream any) bool {
	f, ok := stream.(interface{ Stat() (fs.FileInfo, error) })
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&fs.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
