package cluster

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	greeterv1 "github.com/go-easyops/easyops/example/gen/greeter/v1"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/test/serve"
)

const (
	greeterService = "greeter.v1.GreeterService"
	changedServer  = "github.com/go-easyops/easyops/test/cluster/changed"
)

// TestPersonal has alice and bob call a greeter, which calls echo, of which
// alice runs an instance of her own. Her calls reach it and his do not; where
// the greeter does not look at owners, nobody's do.
func TestPersonal(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		flags   []string
		reaches bool
	}{
		{"on", []string{"-easyops.personal"}, true},
		{"off", nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c, a := startEtcd(t, 1), newAuthority(t)
			plain := append(a.flags(a.issue(t, "echo", service)), c.flag())
			own := append(a.flags(a.issue(t, "alice-echo", service)), c.flag(), "-easyops.owner=alice")
			servers := []*serve.Server{serve.Start(t, plain...), serve.Start(t, plain...), serve.StartProgram(t, changedServer, own...)}
			c.awaitReady(t, patience, addrs(servers)...)
			serve.StartProgram(t, serve.Greeter, append(append(a.flags(a.issue(t, "greeter", greeterService)), c.flag()), test.flags...)...)

			client, conn, err := greeterv1.DialGreeterService(c.dial(), a.issue(t, "edge").option(), easyops.WithPersonal(), apart(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			var group sync.WaitGroup
			for _, user := range []string{"alice", "bob"} {
				token := a.token(t, user)
				group.Go(func() {
					want := 0
					if user == "alice" && test.reaches {
						want = personal
					}
					if got := greetings(t, client, token, personal); got != want {
						t.Errorf("%d of %d calls of %s reached alice's instance, want %d", got, personal, user, want)
					}
				})
			}
			group.Wait()
		})
	}
}

// greetings makes n calls in the name of a user and returns how many of them
// reached the changed echo.
func greetings(t *testing.T, client greeterv1.GreeterServiceClient, token string, n int) int {
	var left, changed atomic.Int64
	left.Store(int64(n))
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for left.Add(-1) >= 0 {
				ctx, cancel := context.WithTimeout(auth.WithUserToken(t.Context(), token), deadline)
				greeting, err := greetMe(ctx, client)
				cancel()
				switch {
				case err != nil:
					t.Error(err)
					return
				case strings.HasPrefix(greeting, "changed: "):
					changed.Add(1)
				}
			}
		})
	}
	group.Wait()
	return int(changed.Load())
}

func greetMe(ctx context.Context, client greeterv1.GreeterServiceClient) (string, error) {
	resp, err := client.GreetMe(ctx, &greeterv1.GreetMeRequest{})
	if err == nil && !strings.Contains(resp.GetGreeting(), "Hello, ") {
		err = fmt.Errorf("greeted with %q", resp.GetGreeting())
	}
	return resp.GetGreeting(), err
}
