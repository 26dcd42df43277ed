package easyops

import (
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// TestCallsReadNoFile: only the upkeep looks, so a disk that hangs holds up no
// call, however long ago the last look is.
func TestCallsReadNoFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	put := func(token string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("first")
	synctest.Test(t, func(t *testing.T) {
		c := &config{serviceToken: file}
		c.logger = slog.New(slog.DiscardHandler)
		own, err := openOwnToken(c)
		if err != nil {
			t.Fatal(err)
		}
		carried := func() string { return own.headers("")["authorization"] }
		stop := (&upkeep{own: own}).start()
		put("second")
		if got := carried(); got != "Bearer first" {
			t.Errorf("before a look calls carry %q", got)
		}
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		if got := carried(); got != "Bearer second" {
			t.Errorf("after a look calls carry %q", got)
		}
		stop()
		put("third")
		time.Sleep(time.Hour)
		if got := carried(); got != "Bearer second" {
			t.Errorf("without the upkeep calls carry %q", got)
		}
	})
}

func TestMoveOn(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct{ life, ahead time.Duration }{
		{90 * 24 * time.Hour, time.Hour},
		{10 * time.Hour, time.Hour},
		{time.Hour, 6 * time.Minute},
		{20 * time.Second, 6 * time.Second},
	} {
		cert := &x509.Certificate{NotBefore: begin, NotAfter: begin.Add(tt.life)}
		for _, lead := range []float64{1, 0.5} {
			if got, want := cert.NotAfter.Sub(moveOn(cert, lead)), time.Duration(lead*float64(tt.ahead)); got != want {
				t.Errorf("of %v, at %v: %v before its end, want %v", tt.life, lead, got, want)
			}
		}
	}
}

// TestShownCert: what counts is the one that expires first.
func TestShownCert(t *testing.T) {
	now := time.Now()
	early, late := &x509.Certificate{NotAfter: now}, &x509.Certificate{NotAfter: now.Add(time.Hour)}
	s := &shownCert{}
	s.note(nil)
	if s.oldest.Load() != nil {
		t.Error("no certificate counts as one")
	}
	for _, c := range []*x509.Certificate{late, early, late, nil} {
		s.note(c)
	}
	if s.oldest.Load() != early {
		t.Error("it is not the one that expires first")
	}
}
