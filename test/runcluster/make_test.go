//go:build real

package main

import "testing"

// TestMake does what a reader does: make in a terminal, what it prints, Ctrl-C.
func TestMake(t *testing.T) {
	p := startProgram(t, "script", "--quiet", "--return", "--command", "make run-cluster", "/dev/null")
	p.await(t, "grpc-connections\n")
	url := try(t, p.output())
	if _, err := p.keyboard.Write([]byte{3}); err != nil {
		t.Error(err)
	}
	p.ended(t, url)
}
