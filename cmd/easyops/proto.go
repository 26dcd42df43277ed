package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	easyopsv1 "github.com/go-easyops/easyops/proto/easyops/v1"
)

func protoCommand() command {
	var force bool
	return command{
		name:    "proto",
		args:    "[-f] DIR",
		summary: "Write " + easyopsv1.SourcePath + " into a tree of .proto files.",
		help: `
DIR is the root of the tree: the directory that buf.yaml names as a module, or
that protoc takes by -I. After this, .proto files can say

  import "` + easyopsv1.SourcePath + `";

Commit the file. Its text is that of this version of easyops. A file that is
there already and differs is left alone, unless -f says to replace it.`,
		flags: func(fs *flag.FlagSet) { fs.BoolVar(&force, "f", false, "replace a file that differs") },
		run: func(s streams, args []string) error {
			if len(args) != 1 {
				return usagef("proto: name one directory, as in: easyops proto proto")
			}
			return writeProto(s, args[0], force)
		},
	}
}

// writeProto puts the options below dir and says what it did.
func writeProto(s streams, dir string, force bool) error {
	path := filepath.Join(dir, filepath.FromSlash(easyopsv1.SourcePath))
	old, err := os.ReadFile(path)
	done := "wrote"
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case string(old) == easyopsv1.Source():
		fmt.Fprintln(s.out, path, "is up to date")
		return nil
	case !force:
		return fmt.Errorf("%s is there and differs from that of this version: -f replaces it", path)
	default:
		done = "replaced"
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(easyopsv1.Source()), 0o644); err != nil {
		return err
	}
	fmt.Fprintln(s.out, done, path)
	return nil
}
