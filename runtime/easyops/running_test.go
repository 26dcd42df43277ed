package easyops

import (
	"bytes"
	"context"
	"runtime"
	"slices"
	"testing"
	"time"

	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/go-easyops/easyops/runtime/status"
)

// Handlers that never end are seen by what their clients do not wait for any more.
func TestOverviewOfHandlersThatHang(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		release := make(chan struct{})
		r := newRig(t, w, &funcs{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			<-release // in place of select {}, which would outlast the test
			return &testpb.SimpleResponse{}, nil
		}})
		defer close(release)
		client := r.client()
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, _ = client.UnaryCall(ctx, &testpb.SimpleRequest{})
			cancel()
		}
		of := func() status.RunningCalls {
			all := r.overview().Running
			i := slices.IndexFunc(all, func(c status.RunningCalls) bool { return c.Method == unaryMethod })
			if i < 0 {
				t.Fatalf("no calls in flight: %+v", all)
			}
			return all[i]
		}
		if got := of(); got.Calls != 5 || got.Ignoring != 0 || got.Stream || time.Duration(got.Oldest) < 4*time.Second {
			t.Errorf("at first: %+v", got)
		}
		time.Sleep(20 * time.Second)
		if got := of(); got.Ignoring != 5 || time.Duration(got.IgnoringFor) < 19*time.Second || got.IgnoringFor >= got.Oldest {
			t.Errorf("after 20 s: %+v", got)
		}
		stacks := make([]byte, 4<<20)
		if n := runtime.Stack(stacks, true); !bytes.Contains(stacks[:n], []byte("._TestService_UnaryCall_Handler")) {
			t.Error("the link of the problem looks for a handler by what is not in its stack")
		}
	})
}
