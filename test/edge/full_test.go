//go:build real

package edge

// restarts is how often the services, and the edge itself, are restarted.
const restarts = 10
