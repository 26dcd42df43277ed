// Package identity proves who may call what: on each way into a server, for each
// kind of method, and before a byte of the request is read.
//
// The code in matrix is what protoc and the plugins make of matrix.proto.
package identity

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
