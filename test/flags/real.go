//go:build real

package flags

import "time"

// rush is how long the flags are written and read at once.
const rush = time.Minute
