//go:build race

package serve

// buildFlags build the programs with the race detector where the tests have it.
var buildFlags = []string{"-race"}
