//go:build real

package frontproxies

import (
	"os"
	"testing"

	"github.com/go-easyops/easyops/test/serve"
)

func TestMain(m *testing.M) {
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // the servers': a second between their last act and their end
	serve.Main(m)
}
