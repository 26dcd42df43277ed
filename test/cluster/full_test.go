//go:build real

package cluster

import "time"

// What `make test-real` has time for.
const (
	full     = true
	rounds   = 30 // of a rolling restart
	inPlace  = 5  // restarts of one instance
	unary    = 100_000
	streams  = 200
	outage   = 60 * time.Second
	personal = 10_000 // calls of each user
)
