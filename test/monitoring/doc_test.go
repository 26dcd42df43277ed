// Package monitoring proves that what docs/monitoring offers fits what a server
// shows: the names in the dashboard and the rules, what promtool says of them and
// of the metrics, and what a real Prometheus makes of a server.
package monitoring

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/go-easyops/easyops/test/serve"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		serve.Remove()
		exit(code)
	}))
}
