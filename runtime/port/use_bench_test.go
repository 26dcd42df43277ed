package port

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc/peer"
)

// BenchmarkUse measures what a call costs whose connection is found and told.
func BenchmarkUse(b *testing.B) {
	p := &Port{byAddr: newTable()}
	var contexts []context.Context
	for i := range 10_000 {
		c := &conn{addr: ownAddr(&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: i})}
		p.byAddr.add(c)
		contexts = append(contexts, peer.NewContext(b.Context(), &peer.Peer{Addr: c.addr}))
	}
	users, service := []string{"alice", "bob"}, "shop"
	callBy := func(ctx context.Context, user *string) {
		u := p.UseOf(ctx)
		u.Begin()
		u.By(user, &service)
		u.End()
	}
	call := func(ctx context.Context) { callBy(ctx, &users[0]) }
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			call(contexts[0])
		}
	})
	b.Run("one/parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				call(contexts[0])
			}
		})
	})
	b.Run("two callers", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			callBy(contexts[0], &users[i%2])
		}
	})
	b.Run("two callers/parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				callBy(contexts[0], &users[i%2])
			}
		})
	})
	b.Run("10000", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			call(contexts[i%len(contexts)])
		}
	})
}

// BenchmarkList measures what a page of 10,000 connections costs.
func BenchmarkList(b *testing.B) {
	p := &Port{conns: map[*conn]struct{}{}}
	for i := range 10_000 {
		c := &conn{addr: ownAddr(&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: i}), begun: time.Unix(int64(i*7919%10_000), 0)}
		p.conns[c] = struct{}{}
	}
	for b.Loop() {
		if open, total := p.List(10_000); len(open) != total {
			b.Fatal(len(open), total)
		}
	}
}
