//go:build real && race

package browser

// slower is how many times as long a page takes with the race detector.
const slower = 20
