package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// The permissions of what is written. A directory that holds secrets is made
// for its owner alone; one that is there already is left as it is.
const (
	secretFile fs.FileMode = 0o600
	publicFile fs.FileMode = 0o644
	secretDir  fs.FileMode = 0o700
)

// file is one that a command writes.
type file struct {
	path string
	mode fs.FileMode
	data []byte
}

// writeFiles writes files and says so. Those that exist are replaced only where
// force says so; otherwise nothing is written at all.
func writeFiles(w io.Writer, force bool, files ...file) error {
	for _, f := range files {
		switch _, err := os.Lstat(f.path); {
		case err == nil && !force:
			return fmt.Errorf("%s exists: --force replaces it", f.path)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	for _, f := range files {
		if err := os.MkdirAll(filepath.Dir(f.path), secretDir); err != nil {
			return err
		}
		if err := writeWhole(f); err != nil {
			return err
		}
		fmt.Fprintln(w, "wrote", f.path)
	}
	return nil
}

// wantDirectory returns an error where a path, which a command line gives as
// name, is that of a file.
func wantDirectory(name, path, what string) error {
	if info, err := os.Stat(path); err != nil || info.IsDir() {
		return nil // what is missing is told by who reads it
	}
	return usagef("%s is a file, and %s names the directory %s, such as %s", path, name, what, filepath.Dir(path))
}

// writeWhole writes a file so that readers find all of the old one or all of the
// new one, and nobody but its owner ever one that is secret.
func writeWhole(f file) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(f.path), "."+filepath.Base(f.path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(temp.Name())
		}
	}()
	_, err = temp.Write(f.data)
	if err = errors.Join(err, temp.Chmod(f.mode), temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), f.path)
}

// lifetime is a flag that takes days besides what [time.ParseDuration] takes.
type lifetime time.Duration

const day = 24 * time.Hour

func (l *lifetime) Type() string { return "time" }

func (l *lifetime) Set(s string) error {
	number, days := strings.CutSuffix(s, "d")
	if days {
		number += "h"
	}
	d, err := time.ParseDuration(number)
	if days {
		if d > math.MaxInt64/24 {
			return errors.New("that is longer than 290 years")
		}
		d *= 24
	}
	if err != nil || d <= 0 {
		return errors.New("it is a time such as 30m, 12h or 90d")
	}
	*l = lifetime(d)
	return nil
}

// String writes whole days as such and drops what is zero.
func (l *lifetime) String() string {
	d := time.Duration(*l)
	if d == 0 { // a flag that is not set
		return ""
	}
	if d >= day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
