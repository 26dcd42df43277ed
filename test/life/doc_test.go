// Package life tests how a server comes and goes: as a process, with signals,
// while it is called.
package life

import (
	"testing"

	"github.com/go-easyops/easyops/test/serve"
)

func TestMain(m *testing.M) { serve.Main(m) }
