package auth

import (
	"context"
	"crypto/x509"
	"sync"
	"testing"
)

func chain(leaf *x509.Certificate) []*x509.Certificate { return []*x509.Certificate{leaf} }

// Tokens are not its affair.
func TestMTLSLeavesTokensToOthers(t *testing.T) {
	id, err := MTLS(nil).Authenticate(context.Background(), Credential{Token: "x"})
	if id != (Identity{}) || err != nil {
		t.Errorf("got %v, %v", id, err)
	}
}

// What is remembered is bounded, and right with many connections at a time.
func TestMTLSRemembersSoMany(t *testing.T) {
	m := MTLS(nil).(*mtls)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range maxRemembered {
				leaf := &x509.Certificate{DNSNames: []string{"billing"}, NotAfter: template().NotAfter}
				for range 2 {
					if id, err := m.Authenticate(context.Background(), Credential{Certs: chain(leaf)}); err != nil || id.Service.ID != "billing" {
						t.Errorf("got %v, %v", id, err)
					}
				}
			}
		})
	}
	wg.Wait()
	n := 0
	m.known.Range(func(any, any) bool { n++; return true })
	if n == 0 || n > maxRemembered+8 {
		t.Errorf("%d certificates are remembered", n)
	}
}

func TestMTLSAllocatesNothing(t *testing.T) {
	m, ctx := MTLS(func() string { return domain }), context.Background()
	c := Credential{Certs: chain(template(withURI(echoID)))}
	if n := testing.AllocsPerRun(100, func() { _, _ = m.Authenticate(ctx, c) }); n > 0 {
		t.Errorf("%v allocations for a call", n)
	}
}

func BenchmarkMTLS(b *testing.B) {
	m, ctx := MTLS(func() string { return domain }), context.Background()
	c := Credential{Certs: chain(template(withURI(echoID)))}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Authenticate(ctx, c); err != nil {
			b.Fatal(err)
		}
	}
}
