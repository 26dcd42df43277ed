package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	easyopsv1 "github.com/go-easyops/easyops/proto/easyops/v1"
)

func protoCommand() *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:   "proto [-f] DIR",
		Short: "Write " + easyopsv1.SourcePath + " into a tree of .proto files.",
		Long: `
DIR is the root of the tree: the directory that buf.yaml names as a module, or
that protoc takes by -I. After this, .proto files can say

  import "` + easyopsv1.SourcePath + `";

Commit the file. Its text is that of this version of easyops. A file that is
there already and differs is left alone, unless -f says to replace it.`,
		Example: "  easyops proto proto",
		Args:    oneArgument("directory"),
		RunE: func(c *cobra.Command, args []string) error {
			return writeProto(c.OutOrStdout(), args[0], force)
		},
		ValidArgsFunction: directories,
	}
	c.Flags().BoolVarP(&force, "force", "f", false, "replace a file that differs")
	return c
}

// directories completes an argument that is a directory.
func directories(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// writeProto puts the options below dir and says what it did.
func writeProto(w io.Writer, dir string, force bool) error {
	path := filepath.Join(dir, filepath.FromSlash(easyopsv1.SourcePath))
	old, err := os.ReadFile(path)
	done := "wrote"
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case string(old) == easyopsv1.Source():
		fmt.Fprintln(w, path, "is up to date")
		return nil
	case !force:
		return fmt.Errorf("%s is there and differs from that of this version: -f replaces it", path)
	default:
		done = "replaced"
	}
	_, err = os.Stat(dir)
	made := errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(easyopsv1.Source()), 0o644); err != nil {
		return err
	}
	if made {
		fmt.Fprintln(w, "made", dir)
	}
	fmt.Fprintln(w, done, path)
	return nil
}
