//go:build race

package run

// buildFlags build the command with the race detector where the tests have it.
var buildFlags = []string{"-race"}
