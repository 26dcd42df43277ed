package main

import (
	"testing"
)

// The rules are tried one by one in TestErrors; here is what is near to them.
func TestCheckImportPath(t *testing.T) {
	sound := []string{
		"example.com", "example.com/p", "x/y", "example.com/a-b/c_d/e~f/g+h/v1.2", "example.com/Console", "example.com/com", "example.com/com0",
		"example.com/com10", "example.com/x.con", "example.com/a~", "example.com/a~1b", "example.com/x.a~1", "example.com/1p", "example.com/_p",
		"example.com/-y/z", "example.com/vendor", "example.com/vendors/q", "example.com/internal/p", "internal.example.com/p",
	}
	for _, p := range sound {
		if err := checkImportPath(p); err != nil {
			t.Error(err)
		}
	}
	refused := []string{
		"", "p", "./p", "../p", "/p", ".p/q", "example.com/p/", "example.com//p", "example.com/../p", "example.com/.../p", "-x.com/p",
		"example.com/con", "example.com/CON/p", "example.com/aux.go", "example.com/nul", "example.com/prn", "example.com/com1", "example.com/LPT9.x.y",
		"example.com/a~1", "example.com/a~23.x/p", "example.com/~1", "example.com/p./q", "example.com/+p", "example.com/a b", "example.com/a@v1",
		"example.com/a:b", "example.com/a\\b", "example.com/\u00e9", "example.com/\xff", "vendor/p", "a.b/vendor/c/vendor/d", "internal/p",
	}
	for _, p := range refused {
		if err := checkImportPath(p); err == nil {
			t.Errorf("%q is taken", p)
		} else if unreadable(err.Error()) {
			t.Errorf("%q: the error is not one line: %q", p, err)
		}
	}
}

func TestInternalTo(t *testing.T) {
	tests := []struct {
		path, root string
		internal   bool
	}{
		{"example.com/p", "", false},
		{"example.com/internals/p", "", false},
		{"internal.com/p", "", false},
		{"example.com/internal", "example.com", true},
		{"example.com/a/internal/p", "example.com/a", true},
		{"example.com/internal/a/internal/p/q", "example.com/internal/a", true},
	}
	for _, test := range tests {
		if root, internal := internalTo(test.path); root != test.root || internal != test.internal {
			t.Errorf("%s: got %q and %v", test.path, root, internal)
		}
	}
}
