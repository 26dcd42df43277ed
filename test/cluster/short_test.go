//go:build !real

package cluster

import "time"

// What `make test` has time for.
const (
	full     = false
	rounds   = 3 // of a rolling restart
	inPlace  = 2 // restarts of one instance
	unary    = 3_000
	streams  = 10
	outage   = 14 * time.Second // longer than a lease
	personal = 1_000            // calls of each user
)
