package main

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagError says what is wrong with a flag. Flags of Go programs have one dash,
// so that is a likely mistake.
func flagError(c *cobra.Command, err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		name, _, _ := strings.Cut(unknown.GetSpecifiedShortnames(), "=")
		if len(name) > 1 && c.Flags().Lookup(name) != nil {
			return usagef("%s: -%s has two dashes: --%s", words(c), name, name)
		}
	}
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		name, value := invalid.GetFlag().Name, invalid.GetValue()
		if looksLikeFlag(c, value) {
			return usagef("%s: %w", words(c), valueForgotten(name, value))
		}
		return usagef("%s: --%s %q: %w", words(c), name, value, invalid.Unwrap())
	}
	return usagef("%s: %w: run easyops help %s", words(c), err, words(c))
}

// valuesForgotten returns an error where a flag has taken the next flag for its
// value.
func valuesForgotten(c *cobra.Command) (err error) {
	c.Flags().Visit(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		if i := slices.IndexFunc(values, func(v string) bool { return looksLikeFlag(c, v) }); i >= 0 && err == nil {
			err = fmt.Errorf("%s: %w", words(c), valueForgotten(f.Name, values[i]))
		}
	})
	return err
}

// looksLikeFlag tells whether a value is rather a flag of a command, or a word
// like one. What has a value of its own and is no flag is left alone.
func looksLikeFlag(c *cobra.Command, value string) bool {
	name, dashes := strings.CutPrefix(value, "--")
	name, _, valued := strings.Cut(name, "=")
	return dashes && (!valued || c.Flags().Lookup(name) != nil)
}

func valueForgotten(name, next string) error {
	return fmt.Errorf("--%s has no value: %s comes right behind it", name, next)
}

// plainUsage takes the backticks out of what flags say of themselves: help makes
// names of values of them, and shells show them as they are.
func plainUsage(c *cobra.Command) {
	c.Flags().VisitAll(func(f *pflag.Flag) { f.Usage = strings.ReplaceAll(f.Usage, "`", "") })
	for _, sub := range c.Commands() {
		plainUsage(sub)
	}
}

// trimmed are the parts of a list without the spaces around its commas.
func trimmed(list []string) []string {
	parts := slices.Clone(list)
	for i, part := range parts {
		parts[i] = strings.TrimSpace(part)
	}
	return parts
}

// addresses is a flag that takes IP addresses, also several with commas.
type addresses []net.IP

func (a *addresses) Type() string { return "address" }

func (a *addresses) Set(s string) error {
	for _, text := range trimmed(strings.Split(s, ",")) {
		ip := net.ParseIP(text)
		if ip == nil {
			return errors.New("write an IP address without a port, such as 127.0.0.1, and DNS names with --dns")
		}
		*a = append(*a, ip)
	}
	return nil
}

func (a *addresses) String() string {
	var all []string
	for _, ip := range *a {
		all = append(all, ip.String())
	}
	return strings.Join(all, ",")
}
