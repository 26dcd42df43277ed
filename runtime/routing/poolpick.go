package routing

import (
	"context"
	"errors"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// Pick is an instance that was chosen for a connection or a request. Its methods may
// be called concurrently.
type Pick struct {
	pool     *Pool
	backend  *backend
	instance registry.Instance
	began    time.Time

	// Under the lock of the pool.
	judged bool
	err    error // of the judgement
	done   bool
}

// Pick chooses an instance. It waits while there is none, for
// [PoolConfig.MaxWait] at most, and then fails with a [*NoInstanceError]. The caller
// calls Done.
//
// What was tried before for the same purpose, and is done, is in tried: these
// instances are not chosen again before they may work again, so that one who tries
// the next and the next does not try the only one without a pause.
func (p *Pool) Pick(ctx context.Context, tried ...*Pick) (*Pick, error) {
	s := p.search(ctx)
	s.exclude(tried)
	for p.ended.Err() == nil {
		k, w := s.next()
		if k != nil {
			return k, nil
		}
		if err := s.wait(w); err != nil {
			return nil, err
		}
	}
	return nil, p.errClosed()
}

// Instance returns the instance.
func (k *Pick) Instance() registry.Instance { return k.instance }

// Done ends the pick's share of the load of the instance, and says what became of
// it: err is why the instance could not be connected to or broke; nil says that it
// works. An error that is [context.Canceled] says nothing of the instance. Further
// calls do nothing.
func (k *Pick) Done(err error) {
	k.judge(err)
	k.release()
}

// release ends the pick's share of the load.
func (k *Pick) release() {
	k.pool.mu.Lock()
	defer k.pool.mu.Unlock()
	if !k.done {
		k.done = true
		k.backend.inUse--
		k.pool.inUse--
	}
}

// judge notes what the pick says of the instance. The first time counts.
func (k *Pick) judge(err error) {
	k.pool.mu.Lock()
	defer k.pool.mu.Unlock()
	if k.judged {
		return
	}
	k.judged, k.err = true, err
	switch {
	case err == nil:
		k.workLocked()
	case !errors.Is(err, context.Canceled):
		k.failLocked(err)
	case k.backend.trying.Equal(k.began): // another one may try
		k.backend.trying = time.Time{}
		k.pool.newsLocked()
	}
}

func (k *Pick) workLocked() {
	if p := k.pool; k.backend.works(k.began) {
		if p.minute.take(time.Now()) {
			p.journal.info("an instance can be reached again", k.who()...)
		}
		p.newsLocked()
	}
}

func (k *Pick) failLocked(err error) {
	p, b, now := k.pool, k.backend, time.Now()
	b.lastErr = causeOf(err)
	p.lastErr, p.lastErrAt = b.lastErr, now
	if b.fails(k.began, now) && p.minute.take(now) {
		p.journal.warn("no connection to an instance", append(k.who(), "err", b.lastErr)...)
	}
}

func (k *Pick) who() []any {
	return []any{"service", k.pool.config.Service, "instance", k.instance.ID, "peer", k.instance.Addr}
}

// search is for an instance that was not tried yet.
type search struct {
	pool    *Pool
	ctx     context.Context
	start   time.Time
	tried   map[*backend]bool // whether it is being tried still
	lastErr error             // of a connection
}

func (p *Pool) search(ctx context.Context) *search {
	return &search{pool: p, ctx: ctx, start: time.Now(), tried: map[*backend]bool{}}
}

// exclude notes picks that are done.
func (s *search) exclude(tried []*Pick) {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	for _, k := range tried {
		s.tried[k.backend] = false
		if k.err != nil {
			s.lastErr = k.err
		}
	}
}

// lack is what a search waits for that found nothing.
type lack struct {
	news  <-chan struct{}
	retry time.Time // of one that was tried; zero for none
	until time.Time // it gives up
}

// next chooses an instance, or says what to wait for.
func (s *search) next() (*Pick, lack) {
	p, now := s.pool, time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	w := lack{news: p.changed, until: s.untilLocked()}
	var spent func(*backend) bool
	if len(s.tried) > 0 {
		spent = func(b *backend) bool { return s.spent(b, now, w.until) }
	}
	if b := p.stock.choose(now, spent); b != nil {
		return s.takeLocked(b, now), lack{}
	}
	for b, trying := range s.tried {
		if !trying && (w.retry.IsZero() || b.again().Before(w.retry)) {
			w.retry = b.again()
		}
	}
	return nil, w
}

// spent reports whether an instance was tried. It may be once more after a while, if
// there is time.
func (s *search) spent(b *backend, now, until time.Time) bool {
	trying, tried := s.tried[b]
	return tried && (trying || now.Before(b.again()) || !now.Before(until))
}

// untilLocked returns when the search gives up.
func (s *search) untilLocked() time.Time {
	p := s.pool
	switch {
	case p.config.MaxWait >= 0:
		return s.start.Add(p.config.MaxWait)
	case p.listedAt.IsZero() && p.registryError == nil:
		return p.started.Add(answerTime)
	}
	return s.start
}

func (s *search) takeLocked(b *backend, now time.Time) *Pick {
	if b.run > 0 {
		b.trying = now
	}
	b.inUse++
	s.pool.inUse++
	b.picks++
	return &Pick{pool: s.pool, backend: b, instance: b.instance, began: now}
}

// wait waits until there may be an instance. Its error says why there is none.
func (s *search) wait(w lack) error {
	now := time.Now()
	if !now.Before(w.until) {
		return s.none()
	}
	if w.retry.After(now) && w.retry.Before(w.until) {
		w.until = w.retry
	}
	timer := time.NewTimer(w.until.Sub(now))
	defer timer.Stop()
	select {
	case <-w.news:
	case <-timer.C:
	case <-s.pool.ended.Done():
		return s.none()
	case <-s.ctx.Done():
		return s.none()
	}
	return nil
}

// none returns why there is no instance.
func (s *search) none() error {
	p := s.pool
	if p.ended.Err() != nil {
		return p.errClosed()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return &NoInstanceError{
		Service: p.config.Service, Source: p.config.source(), Note: p.note,
		Err: s.lastErr, Ended: s.ctx.Err(), Waited: time.Since(s.start),
	}
}
