package easyops

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/auth"
)

// Standalone, who comes by a proxy is not on this machine because the proxy is: only
// methods for EVERYONE answer. Where callers are known, or nobody looks at them, what
// proxies tell changes nothing.
func TestForwardedCallsStandalone(t *testing.T) {
	const xff, real, via, forwarded = "x-forwarded-for", "x-real-ip", "via", "forwarded"
	for _, test := range []struct {
		name   string
		sent   []string
		passes bool
	}{
		{"directly", nil, true},
		{"by an edge for this machine", []string{xff, "127.0.0.1", "x-forwarded-proto", "http", via, "2.0 easyops-edge"}, true},
		{"for this machine, IPv6", []string{xff, "::1"}, true},
		{"for this machine, mapped", []string{xff, "127.0.0.1, ::ffff:127.0.0.2"}, true},
		{"by an edge", []string{xff, "192.0.2.7", via, "2.0 easyops-edge"}, false},
		{"claims to be this machine", []string{xff, "127.0.0.1, 192.0.2.7"}, false},
		{"claims in a line of its own", []string{xff, "127.0.0.1", xff, "192.0.2.7"}, false},
		{"last is this machine", []string{xff, "192.0.2.7,127.0.0.1"}, false},
		{"the other header", []string{xff, "127.0.0.1", real, "192.0.2.7"}, false},
		{"no address", []string{xff, "unknown"}, false},
		{"empty", []string{xff, ""}, false},
		{"forwarded", []string{forwarded, "for=127.0.0.1"}, false},
		{"forwarded beside", []string{forwarded, "for=192.0.2.7", xff, "127.0.0.1"}, false},
		{"via alone", []string{via, "2.0 somebody"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, w way) {
				r := newRig(t, w, &funcs{}, WithAccess(downMethod, auth.Access{Allow: auth.Everyone}))
				for kind, got := range allKinds(metadata.AppendToOutgoingContext(t.Context(), test.sent...), r.client()) {
					want := codes.OK
					if !test.passes && kind != "down" {
						want = codes.PermissionDenied
					}
					wantEqual(t, kind, got, want)
				}
			})
		})
		t.Run(test.name+"/known", func(t *testing.T) {
			r := newRig(t, ways[0], &funcs{}, WithAuthenticator(byWord))
			for kind, got := range allKinds(as(metadata.AppendToOutgoingContext(t.Context(), test.sent...), "user.alice"), r.client()) {
				wantEqual(t, kind, got, codes.OK)
			}
		})
	}
}

// Both sides learn what to do about it.
func TestForwardedCallsNameTheCure(t *testing.T) {
	r := newRig(t, ways[0], &funcs{})
	_, err := r.client().UnaryCall(metadata.AppendToOutgoingContext(t.Context(), "x-forwarded-for", "192.0.2.7"), &testpb.SimpleRequest{})
	texts := []string{status.Convert(err).Message()}
	for _, line := range r.log.lines("call") {
		texts = append(texts, line.text("err"))
	}
	wantEqual(t, "texts", len(texts), 2)
	if slices.ContainsFunc(texts, func(s string) bool { return !strings.Contains(s, "-easyops.auth") }) {
		t.Errorf("the cure is missing: %q", texts)
	}
}

// To look for what proxies tell costs no allocation.
func TestForwardedCallsCost(t *testing.T) {
	c := &call{flight: &flight{}, Context: metadata.NewIncomingContext(t.Context(), metadata.Pairs("x-forwarded-for", "127.0.0.1", "via", "2.0 x"))}
	if n := testing.AllocsPerRun(100, func() { _ = notForwarded(c) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
