package main

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFilenames(t *testing.T) {
	files := map[string]string{
		"x/y/a.proto": head + "service S {}",
		"x/y/b.proto": head + "message M {}",
	}
	tests := []struct{ parameter, want string }{
		{"", "example.com/p/a_easyops.pb.go"},
		{"paths=import", "example.com/p/a_easyops.pb.go"},
		{"paths=source_relative", "x/y/a_easyops.pb.go"},
		{"module=example.com", "p/a_easyops.pb.go"},
		{"module=example.com/p", "a_easyops.pb.go"},
		{"Mx/y/a.proto=example.com/q;r", "example.com/q/a_easyops.pb.go"},
		{"package=example.com/q/r", "example.com/q/r/a_easyops.pb.go"},
		{"package=example.com/q/r,module=example.com/q", "r/a_easyops.pb.go"},
		{"package=example.com/q/r,paths=source_relative", "x/y/a_easyops.pb.go"},
	}
	for _, test := range tests {
		t.Run(test.parameter, func(t *testing.T) {
			got := mustRespond(t, compile(t, files, test.parameter))
			if diff := cmp.Diff([]string{test.want}, slices.Collect(maps.Keys(got))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPackageName(t *testing.T) {
	tests := []struct{ path, want string }{
		{"example.com/echo", "echo"},
		{"example.com/echo/v1", "v1"},
		{"example.com/own-echo", "own_echo"},
		{"example.com/func", "_func"},
		{"example.com/1st", "_1st"},
		{"example.com", "example_com"},
	}
	for _, test := range tests {
		if got := packageName(test.path); got != test.want {
			t.Errorf("%s: got %s, want %s", test.path, got, test.want)
		}
	}
}
