// Package propagation follows a user through services that call each other: what
// arrives, what must not, and what is on the wire.
package propagation

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
