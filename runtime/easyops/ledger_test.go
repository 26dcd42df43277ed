package easyops

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// ledger is a registry in memory that notes what it is told.
type ledger struct {
	mu    sync.Mutex
	notes []string
	note  func(string) // also called for each note; may be nil
	hang  atomic.Bool  // answers nothing
}

// ledgers are the registries that URLs of the scheme "ledger" name.
var ledgers sync.Map

func init() {
	registry.RegisterDriver("ledger", func(url string, _ *slog.Logger) (registry.Registry, error) {
		l, ok := ledgers.Load(url)
		if !ok {
			return nil, fmt.Errorf("no ledger %q", url)
		}
		return l.(*ledger), nil
	})
}

// newLedger returns a registry and the option that lists a server there.
func newLedger(t *testing.T) (*ledger, ServerOption) {
	url := "ledger:" + registry.NewID()
	l := &ledger{}
	ledgers.Store(url, l)
	t.Cleanup(func() { ledgers.Delete(url) })
	return l, serverOption(func(c *config) {
		WithRegistry(url).applyServer(c)
		WithAdvertise("127.0.0.1:4100").applyServer(c) // what is in memory has no address
	})
}

func (l *ledger) add(ctx context.Context, what string) error {
	if l.hang.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	l.mu.Lock()
	l.notes = append(l.notes, what)
	l.mu.Unlock()
	if l.note != nil {
		l.note(what)
	}
	return nil
}

func (l *ledger) past() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.notes, " ")
}

func (l *ledger) Register(ctx context.Context, list []registry.Instance) (registry.Lease, error) {
	if err := l.add(ctx, string(list[0].Health)); err != nil {
		return nil, err
	}
	return &ledgerLease{l, make(chan struct{})}, nil
}

func (l *ledger) Watch(ctx context.Context, _ string, _ func([]registry.Instance, error)) {
	<-ctx.Done()
}

func (l *ledger) LastAnswer() time.Time { return time.Time{} }

func (l *ledger) Close() error { return nil }

func (l *ledger) String() string { return "ledger" }

type ledgerLease struct {
	l    *ledger
	lost chan struct{}
}

func (e *ledgerLease) Update(ctx context.Context, list []registry.Instance) error {
	return e.l.add(ctx, string(list[0].Health))
}

func (e *ledgerLease) Lost() <-chan struct{} { return e.lost }

func (e *ledgerLease) Close(ctx context.Context) error { return e.l.add(ctx, "gone") }
