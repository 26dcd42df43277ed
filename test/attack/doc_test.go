// Package attack attacks a server from outside and says what it cost, beside
// what the same attack costs grpc-go alone. The tests run short attacks; with
// the build tag real they run long ones.
//
// That something did not happen is worth little where it could not have been
// seen: each test has a control, a server that the same attack does harm.
package attack

import (
	"testing"

	"github.com/go-easyops/easyops/test/serve"
)

func TestMain(m *testing.M) { serve.Main(m) }
