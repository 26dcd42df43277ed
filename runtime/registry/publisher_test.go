package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var errDown = errors.New("registry is down")

// fake is a registry in memory whose failures are scripted.
type fake struct {
	mu        sync.Mutex
	down      bool
	hang      bool
	registers []time.Time // when it was asked
	leases    []*fakeLease
	why       error    // why leases are lost
	history   []string // what was listed, by health; "-" for nothing
}

func newFake() *fake { return &fake{} }

func (f *fake) String() string { return "fake registry" }
func (f *fake) Close() error   { return nil }

func (f *fake) LastAnswer() time.Time { return time.Time{} }

func (f *fake) Watch(context.Context, string, func([]Instance, error)) {}

func (f *fake) Register(ctx context.Context, list []Instance) (Lease, error) {
	f.mu.Lock()
	f.registers = append(f.registers, time.Now())
	f.mu.Unlock()
	if err := f.ask(ctx); err != nil {
		return nil, err
	}
	l := &fakeLease{fake: f, lost: make(chan struct{})}
	f.mu.Lock()
	f.leases = append(f.leases, l)
	f.mu.Unlock()
	f.list(list)
	return l, nil
}

func (f *fake) ask(ctx context.Context) error {
	f.mu.Lock()
	down, hang := f.down, f.hang
	f.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	if down {
		return errDown
	}
	return nil
}

func (f *fake) list(list []Instance) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(list) == 0 {
		f.history = append(f.history, "-")
		return
	}
	f.history = append(f.history, string(list[0].Health))
}

func (f *fake) set(down, hang bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down, f.hang = down, hang
}

func (f *fake) lose() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.history = append(f.history, "lost")
	close(f.leases[len(f.leases)-1].lost)
}

func (f *fake) asked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.registers)
}

// closes says how many leases were closed.
func (f *fake) closes() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, l := range f.leases {
		if l.closed {
			n++
		}
	}
	return fmt.Sprintf("%d closed of %d", n, len(f.leases))
}

func (f *fake) past() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.history, " ")
}

type fakeLease struct {
	fake   *fake
	lost   chan struct{}
	closed bool // guarded by fake.mu
}

// Err is of a lease that knows why it is lost; by default it does not.
func (l *fakeLease) Err() error {
	l.fake.mu.Lock()
	defer l.fake.mu.Unlock()
	return l.fake.why
}

func (l *fakeLease) Lost() <-chan struct{} { return l.lost }

func (l *fakeLease) gone() bool {
	select {
	case <-l.lost:
		return true
	default:
		return false
	}
}

func (l *fakeLease) Update(ctx context.Context, list []Instance) error {
	l.fake.mu.Lock()
	closed := l.closed
	l.fake.mu.Unlock()
	if l.gone() {
		return errLost
	}
	if closed { // as it may be where Close failed: it does, and nobody renews the lease
		l.fake.list([]Instance{{Health: "DYING"}})
		return nil
	}
	if err := l.fake.ask(ctx); err != nil {
		return err
	}
	l.fake.list(list)
	return nil
}

func (l *fakeLease) Close(ctx context.Context) error {
	l.fake.mu.Lock()
	l.closed = true
	l.fake.mu.Unlock()
	if l.gone() {
		return nil
	}
	if err := l.fake.ask(ctx); err != nil {
		return err
	}
	l.fake.list(nil)
	return nil
}

func with(h Health) []Instance {
	i := valid()
	i.Health = h
	return []Instance{i}
}

// published runs a test in a bubble with a publisher that is closed at its
// end, and returns its log.
func published(t *testing.T, test func(t *testing.T, f *fake, p *Publisher)) string {
	t.Helper()
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		p := NewPublisher(f, slog.New(slog.NewTextHandler(&log, nil)))
		test(t, f, p)
		f.set(false, false)
		if err := p.Close(t.Context()); err != nil {
			t.Errorf("close: %v", err)
		}
		wantState(t, p, Unregistered)
	})
	return log.String()
}

func wantPast(t *testing.T, f *fake, want string) {
	t.Helper()
	synctest.Wait()
	if got := f.past(); got != want {
		t.Errorf("the registry listed %q, want %q", got, want)
	}
}

func wantState(t *testing.T, p *Publisher, want State) {
	t.Helper()
	synctest.Wait()
	if got := p.State(); got != want {
		t.Errorf("state %s, want %s (%v)", got, want, p.LastError())
	}
}

func TestPublishAndStop(t *testing.T) {
	log := published(t, func(t *testing.T, f *fake, p *Publisher) {
		wantState(t, p, Unregistered)
		p.Set(with(Ready))
		wantState(t, p, Registered)
		p.Set(with(NotReady))
		synctest.Wait()
		p.Set(with(Ready))
		synctest.Wait()
		p.Set(with(Ready)) // no news
		wantPast(t, f, "READY NOT_READY READY")

		if err := p.Stop(t.Context(), with(Stopping)); err != nil {
			t.Error(err)
		}
		wantPast(t, f, "READY NOT_READY READY STOPPING")
		p.Set(with(Ready)) // a late health check
		wantPast(t, f, "READY NOT_READY READY STOPPING")

		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		wantPast(t, f, "READY NOT_READY READY STOPPING -")
		wantState(t, p, Unregistered)
	})
	if n := strings.Count(log, "\n"); n != 2 {
		t.Errorf("%d lines of log, want one for registered and one for unregistered:\n%s", n, log)
	}
}

func TestPublisherLatestWins(t *testing.T) {
	published(t, func(t *testing.T, f *fake, p *Publisher) {
		f.set(true, false)
		p.Set(with(Starting))
		synctest.Wait()
		p.Set(with(NotReady))
		p.Set(with(Ready))
		f.set(false, false)
		time.Sleep(maxRetry)
		wantPast(t, f, "READY")
	})
}

func TestUnregisterAndUndo(t *testing.T) {
	published(t, func(t *testing.T, f *fake, p *Publisher) {
		p.Set(with(Ready))
		synctest.Wait()
		p.Set(nil)
		wantState(t, p, Unregistered)
		time.Sleep(time.Minute)
		p.Set(with(Ready))
		wantState(t, p, Registered)
		wantPast(t, f, "READY - READY")
	})
}

// TestUndoAfterFailedUnregister has the registry not answer when it is to take
// the server out. What was begun to be closed is nobody's to use again.
func TestUndoAfterFailedUnregister(t *testing.T) {
	log := published(t, func(t *testing.T, f *fake, p *Publisher) {
		p.Set(with(Ready))
		synctest.Wait()
		f.set(true, false)
		p.Set(nil)
		wantState(t, p, Registered) // as far as anyone knows
		if !errors.Is(p.LastError(), errDown) {
			t.Errorf("last error %v", p.LastError())
		}
		p.Set(with(Ready))
		wantState(t, p, Lost) // nobody keeps the entries
		f.set(false, false)
		time.Sleep(maxRetry)
		wantState(t, p, Registered)
		wantPast(t, f, "READY READY -") // the new one, then the end of the old one
		if got := f.closes(); got != "1 closed of 2" {
			t.Errorf("leases: %s", got)
		}

		f.set(true, false)
		p.Set(nil)
		synctest.Wait()
		f.set(false, false)
		time.Sleep(maxRetry)
		wantState(t, p, Unregistered)
		if got := f.closes(); got != "2 closed of 2" || p.LastError() != nil {
			t.Errorf("leases: %s, %v", got, p.LastError())
		}
	})
	if n := strings.Count(log, "msg=unregistered"); n != 1 {
		t.Errorf("%d times unregistered, want 1:\n%s", n, log)
	}
}

// TestLossSaysWhy has the log name the cause that the lease knows.
func TestLossSaysWhy(t *testing.T) {
	log := published(t, func(t *testing.T, f *fake, p *Publisher) {
		f.why = errors.New("not renewed")
		p.Set(with(Ready))
		synctest.Wait()
		f.lose()
		time.Sleep(time.Second)
	})
	if !strings.Contains(log, `err="not renewed"`) || strings.Contains(log, "dropped") {
		t.Errorf("the log says\n%s", log)
	}
}

// TestStopsQuietly has the registry be away, at a server that it never listed,
// and at one that it did: stopping takes little time, and the log says nothing
// of trying again or unregistering.
func TestStopsQuietly(t *testing.T) {
	for name, tt := range map[string]struct {
		listed bool
		hang   bool
		most   time.Duration
	}{
		"never listed": {false, false, 0},
		"never asked":  {false, true, 0},
		"refuses":      {true, false, listStopping},
		"hangs":        {true, true, listStopping + lateCloseTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				p := NewPublisher(f, slog.New(slog.NewTextHandler(&log, nil)))
				f.set(!tt.listed && !tt.hang, !tt.listed && tt.hang)
				p.Set(with(Ready))
				time.Sleep(time.Minute)
				synctest.Wait()
				f.set(!tt.hang, tt.hang)
				log.Reset()
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), listStopping)
				defer cancel()
				stopErr := p.Stop(ctx, with(Stopping))
				closeErr := p.Close(t.Context())
				if d := time.Since(began); d > tt.most {
					t.Errorf("stopping took %v, want at most %v", d, tt.most)
				}
				if (stopErr != nil) != tt.listed || (closeErr != nil) != tt.listed {
					t.Errorf("stop: %v, close: %v", stopErr, closeErr)
				}
			})
			if log.Len() > 0 {
				t.Errorf("the log says\n%s", &log)
			}
		})
	}
}

// listStopping is how long servers give Stop.
const listStopping = time.Second

func TestPublisherRetriesForEver(t *testing.T) {
	log := published(t, func(t *testing.T, f *fake, p *Publisher) {
		f.set(true, false)
		start := time.Now()
		p.Set(with(Ready))
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if !errors.Is(p.LastError(), errDown) {
			t.Errorf("last error %v", p.LastError())
		}
		for n := 1; n < len(f.registers); n++ {
			if d := f.registers[n].Sub(f.registers[n-1]); d < minRetry || d > maxRetry {
				t.Errorf("attempt %d came %v after the one before", n, d)
			}
		}
		if f.registers[0].Sub(start) > 0 {
			t.Error("the first attempt waited")
		}
		if d := f.registers[1].Sub(f.registers[0]); d > time.Second {
			t.Errorf("the second attempt came after %v", d)
		}
		f.set(false, false)
		time.Sleep(maxRetry)
		wantState(t, p, Registered)
		if err := p.LastError(); err != nil {
			t.Errorf("last error %v", err)
		}
	})
	if n := strings.Count(log, "\n"); n != 3 {
		t.Errorf("%d lines of log, want failing, registered, unregistered:\n%s", n, log)
	}
}

func TestPublisherRegistersAgainAfterLoss(t *testing.T) {
	log := published(t, func(t *testing.T, f *fake, p *Publisher) {
		p.Set(with(Ready))
		synctest.Wait()
		f.set(true, false)
		f.lose()
		wantState(t, p, Lost)
		time.Sleep(time.Hour)
		wantState(t, p, Lost)
		f.set(false, false)
		time.Sleep(maxRetry)
		wantState(t, p, Registered)
		wantPast(t, f, "READY lost READY")
		if len(f.leases) != 2 {
			t.Errorf("%d leases, want a new one", len(f.leases))
		}
	})
	if !strings.Contains(log, errLost.Error()) || strings.Contains(log, "dropped") { // which nobody has said
		t.Errorf("the log says more of the loss than is known:\n%s", log)
	}
	if n := strings.Count(log, "\n"); n != 5 || strings.Count(log, "registry is down") != 1 {
		t.Errorf("%d lines of log, want registered, lost, failing and why, registered, unregistered:\n%s", n, log)
	}
}

// TestLossLeavesNoGap holds that a lost lease is closed after the next one has
// its entries, so that what the registry still lists stays listed.
func TestLossLeavesNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		p := NewPublisher(f, slog.New(slog.DiscardHandler))
		p.Set(with(Ready))
		synctest.Wait()
		f.lose()
		time.Sleep(time.Second)
		f.set(true, false) // lost for good now
		f.lose()
		time.Sleep(time.Second)
		if got := f.closes(); got != "1 closed of 2" {
			t.Errorf("while the registry is down: %s", got)
		}
		p.Set(nil) // nothing is to be listed: the lost one goes as well
		f.set(false, false)
		time.Sleep(5 * time.Second)
		if got := f.closes(); got != "2 closed of 2" {
			t.Errorf("in the end: %s", got)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestPublisherRepeatsFailedUpdate(t *testing.T) {
	published(t, func(t *testing.T, f *fake, p *Publisher) {
		p.Set(with(Ready))
		synctest.Wait()
		f.set(true, false)
		p.Set(with(NotReady))
		wantState(t, p, Registered)
		if p.LastError() == nil {
			t.Error("no error")
		}
		f.set(false, false)
		time.Sleep(maxRetry)
		wantPast(t, f, "READY NOT_READY")
	})
}

func TestStopDuringOutage(t *testing.T) {
	published(t, func(t *testing.T, f *fake, p *Publisher) {
		p.Set(with(Ready))
		synctest.Wait()
		f.set(false, true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := p.Stop(ctx, with(Stopping)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the end of the context", err)
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("stop took %v", d)
		}
	})
}

// A server that stops must not come back, whatever the registry does.
func TestNothingRegistersAfterStop(t *testing.T) {
	for name, tt := range map[string]struct {
		before, after func(*fake)
		wantPast      string
	}{
		"lease lost": {before: func(*fake) {}, after: (*fake).lose, wantPast: "READY STOPPING lost"},
		"register under way": {
			before:   func(f *fake) { f.set(false, true) },
			after:    func(f *fake) { f.set(false, false) },
			wantPast: "",
		},
		"registry down": {
			before:   func(f *fake) { f.set(true, false) },
			after:    func(f *fake) { f.set(false, false) },
			wantPast: "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			published(t, func(t *testing.T, f *fake, p *Publisher) {
				tt.before(f)
				p.Set(with(Ready))
				synctest.Wait()
				if err := p.Stop(t.Context(), with(Stopping)); err != nil {
					t.Error(err)
				}
				asked := f.asked()
				tt.after(f)
				time.Sleep(time.Minute)
				wantPast(t, f, tt.wantPast)
				if n := f.asked() - asked; n != 0 {
					t.Errorf("it was registered %d times after the stop", n)
				}
				wantState(t, p, Unregistered)
			})
		})
	}
}

func TestCloseIsBounded(t *testing.T) {
	published(t, func(t *testing.T, f *fake, p *Publisher) {
		p.Set(with(Ready))
		synctest.Wait()
		f.set(false, true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the end of the context", err)
		}
	})
}
