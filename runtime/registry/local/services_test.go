package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/go-easyops/easyops/runtime/registry"
)

func TestServices(t *testing.T) {
	r := newRegistry(t)
	want := func(names ...string) {
		t.Helper()
		got, err := r.Services(t.Context())
		if err != nil || !slices.Equal(got, names) {
			t.Errorf("%q, %v; want %q", got, err, names)
		}
	}
	want()
	a := register(t, r, entries("a", registry.Ready, "other", "echo"))
	want("echo", "other")
	b := register(t, r, entries("b", registry.Starting, "echo", "third"))
	want("echo", "other", "third")
	a.Close(t.Context())
	want("echo", "third")
	b.Close(t.Context())
	want()
}

// What cannot be read is no empty registry.
func TestServicesThatCannotBeRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Open(file, quiet())
	if err != nil {
		t.Fatal(err)
	}
	if names, err := r.Services(t.Context()); err == nil || errors.Is(err, fs.ErrNotExist) || names != nil {
		t.Errorf("%q, %v", names, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if names, err := newRegistry(t).Services(ended); !errors.Is(err, context.Canceled) || names != nil {
		t.Errorf("%q, %v", names, err)
	}
}
