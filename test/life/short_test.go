//go:build !real

package life

// restarts is how often the load test stops an instance.
const restarts = 4
