package easyops

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// TestAnswerIsNoError: the log and the overview have an error of an answer only
// where it says that something is wrong.
func TestAnswerIsNoError(t *testing.T) {
	for status, fails := range map[int]bool{
		http.StatusOK: false, http.StatusNoContent: false, http.StatusFound: false,
		http.StatusNotFound: true, http.StatusInternalServerError: true,
	} {
		r := &response{ResponseWriter: httptest.NewRecorder(), call: &call{extra: &extra{}}}
		r.WriteHeader(status)
		if (r.err != nil) != fails {
			t.Errorf("%d: %v, %v", status, r.code, r.err)
		}
	}
}

// What is copied has begun an answer when something of it was sent, and not before.
func TestCopiesThatFail(t *testing.T) {
	gone := iotest.ErrReader(errors.New("gone"))
	for name, test := range map[string]struct {
		from  io.Reader
		first int // sent before
		want  int
	}{
		"at once":             {gone, 0, 502},
		"empty":               {strings.NewReader(""), 0, 502},
		"half way":            {io.MultiReader(strings.NewReader("x"), gone), 0, 200},
		"of a begun answer":   {gone, 201, 201},
		"whole":               {struct{ io.Reader }{strings.NewReader("x")}, 0, 200},
		"half of a begun one": {io.MultiReader(strings.NewReader("x"), gone), 201, 201},
	} {
		rec := httptest.NewRecorder()
		r := &response{ResponseWriter: rec, call: &call{extra: &extra{}}}
		if test.first > 0 {
			r.WriteHeader(test.first)
		}
		_, _ = r.ReadFrom(test.from)
		http.Error(r, "bad gateway", http.StatusBadGateway)
		if rec.Code != test.want || r.answered() != test.want || r.begun != true {
			t.Errorf("%s: the client gets %d, counted as %d; want %d", name, rec.Code, r.answered(), test.want)
		}
	}
}

// unsent is an answer whose client has gone.
type unsent struct{ http.ResponseWriter }

func (unsent) FlushError() error { return io.ErrClosedPipe }

// A handler learns that a flush has failed.
func TestFlushFails(t *testing.T) {
	r := &response{ResponseWriter: unsent{httptest.NewRecorder()}, call: &call{extra: &extra{}}}
	if err := http.NewResponseController(r).Flush(); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
	r.Flush()
	if !r.begun || !r.call.flushed.Load() {
		t.Error("it has not begun")
	}
	r.ResponseWriter = httptest.NewRecorder()
	if err := http.NewResponseController(r).Flush(); err != nil {
		t.Errorf("control: %v", err)
	}
}

// Nothing is sent for an identity that has expired, in none of the ways.
func TestNothingIsSentAfterExpiry(t *testing.T) {
	for name, send := range map[string]func(*response) error{
		"Write":    func(r *response) error { _, err := r.Write([]byte("x")); return err },
		"ReadFrom": func(r *response) error { _, err := r.ReadFrom(strings.NewReader("x")); return err },
		"Flush":    func(r *response) error { return http.NewResponseController(r).Flush() },
		"Flusher":  func(r *response) error { r.Flush(); return statusExpired.Err() },
		"status":   func(r *response) error { r.WriteHeader(http.StatusNoContent); return statusExpired.Err() },
		"hints":    func(r *response) error { r.WriteHeader(http.StatusEarlyHints); return statusExpired.Err() },
		"Hijack":   func(r *response) error { _, _, err := r.Hijack(); return err },
	} {
		sent := &sending{ResponseWriter: httptest.NewRecorder()}
		r := &response{ResponseWriter: sent, call: &call{extra: &extra{expiry: time.NewTimer(time.Hour)}}}
		r.call.ended.Store(statusExpired)
		if err := send(r); !errors.Is(err, statusExpired.Err()) {
			t.Errorf("%s: %v", name, err)
		}
		if sent.n != 0 || r.begun {
			t.Errorf("%s: something was sent", name)
		}
		r.call.ended.Store(nil)
		if _ = send(r); sent.n == 0 {
			t.Errorf("%s: control: nothing is ever sent", name)
		}
	}
}

// sending counts what would be sent.
type sending struct {
	http.ResponseWriter
	n int
}

func (s *sending) WriteHeader(int)             { s.n++ }
func (s *sending) Write(b []byte) (int, error) { s.n++; return len(b), nil }
func (s *sending) FlushError() error           { s.n++; return nil }
func (s *sending) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	s.n++
	return nil, nil, http.ErrNotSupported
}
