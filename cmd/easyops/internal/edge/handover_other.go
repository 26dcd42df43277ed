//go:build !unix

package edge

import (
	"errors"
	"io/fs"
	"log/slog"
)

const canHandOver = false

var errNoHandover = errors.New("listeners are handed over on Linux and other systems of Unix only: leave out --handover")

func takeOver(string) (*prior, error) { return nil, errNoHandover }

func ours(fs.FileInfo) bool { return true }

func isFirm(fs.FileInfo) bool { return true }

type door struct{}

func newDoor(string, *slog.Logger) (*door, error) { return nil, errNoHandover }
func (*door) open(successions) error              { return errNoHandover }
func (*door) close()                              {}

func isInUse(error) bool { return false }
