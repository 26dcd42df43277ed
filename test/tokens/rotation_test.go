//go:build real

package tokens

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/test/provider"
)

// The provider rotates its key while 50 callers call: none fails. It takes 20 s
// of real time, as keys are fetched once in 15 s at most.
func TestRotationUnderLoad(t *testing.T) {
	p := provider.New(t)
	all := open(t, "oidc:"+p.URL+"?audience=sid1&use=service&typ=jwt")
	var newest atomic.Pointer[string]
	renew := func() {
		token, err := p.ServiceToken()
		if err != nil {
			t.Error(err)
			return
		}
		newest.Store(&token)
	}
	renew()
	first := *newest.Load()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var calls, failed atomic.Int64
	for range 50 {
		wg.Go(func() {
			for ctx.Err() == nil {
				for _, token := range []string{*newest.Load(), first} {
					calls.Add(1)
					if _, err := auth.Identify(t.Context(), auth.Presented{User: bearer(token)}, all); err != nil {
						failed.Add(1)
						t.Error(err)
						return
					}
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	wg.Go(func() {
		for begin := time.Now(); ctx.Err() == nil; time.Sleep(250 * time.Millisecond) {
			renew()
			all[0].(auth.Source).Refresh(time.Now())
			if time.Since(begin) > 16*time.Second && p.Fetched() == 1 {
				p.Rotate(t, "second")
				renew()
				time.Sleep(2 * time.Second)
				cancel()
			}
		}
	})
	wg.Wait()
	state := all[0].(auth.Source).State()
	if failed.Load() != 0 || p.Fetched() != 2 || state.Err != nil || state.What != "RS256 first, RS256 second" {
		t.Errorf("keys fetched %d times, want 2; state: %+v", p.Fetched(), state)
	}
	t.Logf("%d calls, %d failed; keys fetched %d times", calls.Load(), failed.Load(), p.Fetched())
}
