package easyops

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-easyops/easyops/runtime/flags"
)

// A change that holds for a while is not taken back by a server that has ended:
// nothing of it runs on. Where it has not, it is.
func TestTimeToLiveEndsWithTheServer(t *testing.T) {
	const name = flagPrefix + "access-log-sample"
	for _, stopped := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, ways[0], &funcs{})
			set := r.parameters()
			if _, err := set.Change(flags.Changes{Values: map[string]string{name: "7"}, TTL: time.Minute, Who: "alice"}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			wantEqual(t, "sample", r.access.sample.Load(), 7)
			if stopped {
				_ = r.Shutdown(ended())
			}
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if back := r.access.sample.Load() != 7; back == stopped {
				t.Errorf("the server has ended: %t; the value went back: %t", stopped, back)
			}
		})
	}
}
