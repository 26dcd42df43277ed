//go:build real && !race

package browser

const slower = 1
