// Package rotation changes what identity rests on under the feet of a server and
// its callers: certificates, authorities, and the keys of tokens, in files and at
// an OpenID provider.
package rotation

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/go-easyops/easyops/test/serve"
)

func TestMain(m *testing.M) { serve.Main(m) }

const (
	service  = "echo.v1.EchoService"
	audience = "rotation"

	// patience is how long anything may take that should take two seconds.
	patience = 30 * time.Second
)

// TestRotation rotates under load, which mostly waits, and meanwhile does the
// rest. No goroutine is left at the end.
func TestRotation(t *testing.T) {
	current := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, current) })
	t.Run("under load", func(t *testing.T) {
		t.Parallel()
		underLoad(t)
	})
	t.Run("short-lived certificates", func(t *testing.T) {
		t.Parallel()
		shortLived(t)
	})
	t.Run("refused afterwards", func(t *testing.T) {
		t.Parallel()
		refusedAfterwards(t)
	})
	t.Run("aside", func(t *testing.T) {
		t.Parallel()
		t.Run("authority replaced at once", replacedAtOnce)
		t.Run("reload switched off", reloadSwitchedOff)
		t.Run("calls in the middle", callsInTheMiddle)
		t.Run("clients that dial in the middle", dialsInTheMiddle)
	})
}
