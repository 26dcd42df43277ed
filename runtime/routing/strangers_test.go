package routing

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
)

// lastState keeps the last state that a balancer has told.
type lastState struct {
	balancer.ClientConn
	balancer.State
}

func (s *lastState) UpdateState(state balancer.State) { s.State = state }

// TestPolicyIsOfDialAlone: service configs of others that name the policy are errors, and
// connections of others that have it all the same fail, whether there was a Dial or not.
func TestPolicyIsOfDialAlone(t *testing.T) {
	linkPolicy()
	for _, by := range []*dialling{nil, dialled.Load()} {
		was := dialled.Swap(by)
		for _, text := range []string{`{}`, `{"service": "a", "source": "b", "maxWait": 1, "dialled": ""}`} {
			cc, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithDefaultServiceConfig(fmt.Sprintf(`{"loadBalancingConfig": [{%q: %s}]}`, policyName, text)))
			if err == nil || !strings.Contains(err.Error(), errNotDialled.Error()) {
				t.Errorf("dialled %v, %s: %v", by != nil, text, err)
			}
			if cc != nil {
				_ = cc.Close()
			}
		}
		to := &lastState{}
		b := balancer.Get(policyName).Build(to, balancer.BuildOptions{})
		if err := b.UpdateClientConnState(balancer.ClientConnState{}); err != nil {
			t.Error(err)
		}
		b.ExitIdle()
		if to.ConnectivityState != connectivity.TransientFailure {
			t.Errorf("dialled %v: state %v", by != nil, to.ConnectivityState)
		} else if _, err := to.Picker.Pick(balancer.PickInfo{}); !errors.Is(err, errNotDialled) {
			t.Errorf("a call gets %v", err)
		}
		b.Close()
		dialled.Store(was)
	}
}
