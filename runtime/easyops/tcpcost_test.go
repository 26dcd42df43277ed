package easyops

import (
	"context"
	"net/http"
	"testing"

	"github.com/go-easyops/easyops/runtime/status"
)

// TestNoTCPCostsNothing: a server without TCP services does nothing for them when it
// starts and serves.
func TestNoTCPCostsNothing(t *testing.T) {
	s := NewServer(WithFlags(nil), WithRegistry("none"), WithListener(listenInMemory()), WithHTTP("/", http.NotFoundHandler()))
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown(context.Background())
	in := make([]status.Inbound, 1)
	for name, f := range map[string]func(){
		"check":   s.checkTCP,
		"listen":  func() { _ = s.listenTCP() },
		"set up":  s.setUpTCP,
		"metrics": func() { _ = s.addTCPGauges() },
		"serve":   s.serveTCP,
		"page":    func() { s.tcpPage(); s.inboundTCP(in) },
	} {
		if n := testing.AllocsPerRun(100, f); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
