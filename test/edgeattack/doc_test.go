// Package edgeattack attacks the edge from outside, over raw connections, and
// looks at what comes out behind it: backends of the test's own, which write down
// every byte.
//
// That something did not reach them is worth little where it could not have been
// seen: the same shapes go through proxies that stop less, as controls.
package edgeattack

import (
	"testing"
	"time"

	"github.com/go-easyops/easyops/test/serve"
)

func TestMain(m *testing.M) { serve.Main(m) }

const (
	// patience is how long anything may take that should take milliseconds.
	patience = 20 * time.Second
	// canary is in everything that must not reach a backend.
	canary = "canary-7f3a"
	// smuggled is the path of requests that are hidden in others.
	smuggled = "/smuggled"
)
