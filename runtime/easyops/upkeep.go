package easyops

import (
	"context"
	"crypto/x509"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/go-easyops/easyops/runtime/auth"
)

// upkeep looks after the files of a client, in a goroutine of its own: a disk that
// hangs must hold up no call.
//
// When the files change, the connections that are open stay as they are: they were
// let in, and what is new may not be known everywhere yet. Servers let them in no
// more when the certificate that they have shown expires, so they are made anew
// shortly before that, if there is one that is good for longer.
type upkeep struct {
	own   *ownToken          // nil for none
	certs *auth.Certificates // nil for none
	shown *shownCert
	renew func()
	lead  float64 // of the time in which clients move on: where in it this one does
}

// start returns what ends it.
func (u *upkeep) start() (stop func()) {
	if u.own == nil && u.certs == nil {
		return func() {}
	}
	u.lead = 0.5 + rand.Float64()/2 // so that not all clients come at once
	ctx, cancel := context.WithCancel(context.Background())
	go everySecond(ctx, u.look)
	return cancel
}

func (u *upkeep) look(now time.Time) {
	if u.own != nil {
		u.own.look(now)
	}
	if u.certs == nil {
		return
	}
	u.certs.Refresh(now)
	shown, own := u.shown.oldest.Load(), u.certs.Leaf()
	if shown == nil || own == nil || !own.NotAfter.After(shown.NotAfter) || now.Before(moveOn(shown, u.lead)) {
		return
	}
	u.shown.oldest.CompareAndSwap(shown, nil)
	u.renew()
}

// The last tenth of a certificate's time is when clients move on to the next, but
// no more than an hour and no less than a few looks at the files.
const (
	mostAhead  = time.Hour
	leastAhead = 6 * time.Second
)

// moveOn returns when connections that show a certificate are to be made anew.
func moveOn(shown *x509.Certificate, lead float64) time.Time {
	ahead := min(max(shown.NotAfter.Sub(shown.NotBefore)/10, leastAhead), mostAhead)
	return shown.NotAfter.Add(-time.Duration(lead * float64(ahead)))
}

// shownCert is the certificate of ours that expires first, of those that
// connections have shown since they were last made anew. Some of these may have
// ended, which costs no more than to make the others anew too early.
type shownCert struct {
	oldest atomic.Pointer[x509.Certificate]
}

func (s *shownCert) note(leaf *x509.Certificate) {
	for {
		oldest := s.oldest.Load()
		if leaf == nil || oldest != nil && !leaf.NotAfter.Before(oldest.NotAfter) || s.oldest.CompareAndSwap(oldest, leaf) {
			return
		}
	}
}
