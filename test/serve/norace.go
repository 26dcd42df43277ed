//go:build !race

package serve

var buildFlags []string
