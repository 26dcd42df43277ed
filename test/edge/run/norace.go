//go:build !race

package run

var buildFlags []string
