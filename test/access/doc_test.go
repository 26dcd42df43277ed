// Package access proves who may do what with the status pages, over sockets:
// every page of the route table, asked by everyone, from everywhere, in every
// way that has been used against such pages.
package access

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/go-easyops/easyops/test/serve"
)

func TestMain(m *testing.M) {
	if os.Getenv(askEnv) != "" {
		os.Exit(askForParent())
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		serve.Remove()
		os.Exit(code)
	}))
}
