package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEdgeChecks(t *testing.T) {
	good := tempFile(t, "listen: :8443\ntcp: [{listen: \":5432\", service: db}]\n")
	expect(t, 0, good+" is in order (settings, such as -easyops.auth, are looked at when the edge starts)\n", "edge", "--check", good)
	bad := tempFile(t, "listen: :8443\ntcp: [{listen: \":5432\", servis: db}]\n")
	if code, _, stderr := call("edge", bad, "--check"); code != 1 || !strings.Contains(stderr, bad+":2") || !strings.Contains(stderr, "servis") {
		t.Errorf("code %d, %s", code, stderr)
	}
	// Without --check it does not start either.
	if code, _, stderr := call("edge", bad); code != 1 || !strings.Contains(stderr, bad+":2") {
		t.Errorf("code %d, %s", code, stderr)
	}
	if code, _, stderr := call("edge", filepath.Join(t.TempDir(), "none.yaml")); code != 1 || !strings.Contains(stderr, "none.yaml") {
		t.Errorf("code %d, %s", code, stderr)
	}
}

func TestEdgeUsage(t *testing.T) {
	for args, want := range map[string]string{
		"edge":                         "name one routes file",
		"edge a b":                     "name one routes file",
		"edge a -easyops.nothing=1":    "easyops.nothing",
		"edge a --easyops.drain-delay": "needs an argument",
		"edge a -easyops.owner=me":     "means nothing to an edge",
		"edge a -easyops.personal":     "means nothing to an edge",
	} {
		if code, _, stderr := call(strings.Fields(args)...); code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%s: code %d, %s", args, code, stderr)
		}
	}
	// Wrong values are those of servers.
	good := tempFile(t, "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ntcp: [{listen: \"127.0.0.1:0\", service: db}]\n")
	if code, _, stderr := call("edge", good, "-easyops.drain-delay=x", "-easyops.registry=local:"+t.TempDir()); code != 1 || !strings.Contains(stderr, "-easyops.drain-delay") {
		t.Errorf("code %d, %s", code, stderr)
	}
	if code, _, stderr := call("edge", good, "-easyops.registry=none"); code != 1 || !strings.Contains(stderr, "name one") {
		t.Errorf("code %d, %s", code, stderr)
	}
}

func TestServerFlags(t *testing.T) {
	got := serverFlags([]string{"a", "-easyops.x=1", "-easyops.y", "v", "--easyops.z", "--check", "-handover", "none", "-handover=none", "-check", "--", "-easyops.w"})
	want := []string{"a", "--easyops.x=1", "--easyops.y", "v", "--easyops.z", "--check", "--handover", "none", "--handover=none", "--check", "--", "-easyops.w"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// TestEdgeHelp: what an edge does not have is not offered, and defaults are its own.
func TestEdgeHelp(t *testing.T) {
	_, text, _ := call("edge", "--help")
	text = strings.Join(strings.Fields(text), " ") // lines are as wide as they are
	if !strings.Contains(text, "listen in the routes file") || !strings.Contains(text, "admin in the routes file") || !strings.Contains(text, "--easyops.registry") {
		t.Error(text)
	}
	for _, name := range notForEdges {
		if strings.Contains(text, "--easyops."+name+" ") {
			t.Errorf("it offers %s", name)
		}
	}
}
