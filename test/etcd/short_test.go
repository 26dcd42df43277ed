//go:build !real

package etcd

import "time"

// outage is how long etcd is away: longer than a lease.
const outage = 12 * time.Second

// instances and changes are how many TestScale has.
const instances, changes = 2_000, 100
