package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// helpWidth is how wide the explanations of flags may be, in characters.
const helpWidth = 100

// help explains a command.
func help(w io.Writer, c *cobra.Command) {
	fmt.Fprintf(w, "%s\n\nUsage: %s\n", strings.TrimSpace(c.Short), c.UseLine())
	if text := strings.TrimSpace(c.Long); text != "" {
		fmt.Fprintf(w, "\n%s\n", text)
	}
	if c.Example != "" {
		fmt.Fprintf(w, "\nExamples:\n%s\n", strings.Trim(c.Example, "\n"))
	}
	if commands := leaves(c); len(commands) > 0 {
		fmt.Fprintln(w, "\nCommands:")
		width := 0
		for _, sub := range commands {
			width = max(width, len(useOf(sub)))
		}
		for _, sub := range commands {
			fmt.Fprintf(w, "  %-*s  %s\n", width, useOf(sub), strings.TrimSpace(sub.Short))
		}
		fmt.Fprintln(w, "\nRun easyops help COMMAND for more on one of them.")
	}
	if c.LocalFlags().HasAvailableFlags() && c.HasParent() {
		fmt.Fprintf(w, "\nFlags:\n%s", c.LocalFlags().FlagUsagesWrapped(helpWidth))
	}
}

// useOf is a command as a list has it.
func useOf(c *cobra.Command) string { return strings.TrimPrefix(c.UseLine(), "easyops ") }

// leaves are the commands under c that do something.
func leaves(c *cobra.Command) (all []*cobra.Command) {
	for _, sub := range c.Commands() {
		below := leaves(sub)
		switch {
		case sub.Hidden:
		case len(below) > 0 && sub.Name() != "completion":
			if !strings.HasSuffix(sub.Use, groupUse) { // it does something itself
				all = append(all, sub)
			}
			all = append(all, below...)
		default:
			all = append(all, sub)
		}
	}
	return all
}

func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:                   "help [COMMAND]",
		Short:                 "Explain a command.",
		DisableFlagsInUseLine: true,
		RunE: func(c *cobra.Command, args []string) error {
			target, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return noCommand(target, strings.Join(args, " "))
			}
			target.InitDefaultHelpFlag()
			return target.Help()
		},
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
			if target, rest, err := c.Root().Find(args); err == nil && len(rest) == 0 {
				for _, sub := range target.Commands() {
					if sub.IsAvailableCommand() || sub.Name() == "help" {
						names = append(names, cobra.CompletionWithDesc(sub.Name(), sub.Short))
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// noCommand says that there is no such command, and which may have been meant.
func noCommand(c *cobra.Command, name string) error {
	advice := "run easyops help for those there are"
	if c != nil && c.HasSubCommands() {
		if near := closest(name, c.SuggestionsFor(name)); len(near) > 0 {
			advice = "did you mean " + strings.Join(near, " or ") + "?"
		}
	}
	return usagef("there is no command %q: %s", name, advice)
}

// closest leaves out what is less like a name than others are, unless it begins so.
func closest(name string, like []string) []string {
	least := len(name)
	for _, l := range like {
		least = min(least, distance(name, l))
	}
	return slices.DeleteFunc(like, func(l string) bool { return distance(name, l) > least && !strings.HasPrefix(l, name) })
}

// words are those of a command behind "easyops".
func words(c *cobra.Command) string {
	return strings.TrimPrefix(c.CommandPath(), "easyops ")
}

func firstExample(c *cobra.Command) string {
	first, _, _ := strings.Cut(strings.TrimSpace(c.Example), "\n")
	return first
}
