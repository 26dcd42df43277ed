package rotation

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// breakAll breaks certificates and keys at the same time, one way after another
// as it really happens, and repairs them.
func (w *world) breakAll(t *testing.T, l *load) {
	t.Helper()
	cert, key, ca, set := read(t, w.server.cert()), read(t, w.server.key()), read(t, w.server.ca()), read(t, w.keys.file())
	for _, b := range []struct {
		cert, key, ca, set []byte
		certErr, setErr    string
	}{
		{cert[:len(cert)/2], key, ca, set[:len(set)/2], "ends in the middle", "JSON"},
		{cert, read(t, w.client.key()), ca, []byte(`{}`), "private key does not match", "no list of keys"},
		{cert, key, append(bytes.Clone(ca), ca[:len(ca)/2]...), nil, "ends in the middle", "JSON"},
		{cert: cert, key: key, ca: ca, set: set},
	} {
		inPlace(t, w.server.cert(), b.cert)
		inPlace(t, w.server.key(), b.key)
		inPlace(t, w.server.ca(), b.ca)
		inPlace(t, w.keys.file(), b.set)
		w.mustShow(t, w.server.cert(), b.certErr)
		w.mustShow(t, w.keys.file(), b.setErr)
	}
	l.pass(t, time.Now())
}

// mustShow waits until the help page shows a fault, or "" for none, and wants it
// in the text of the page, in the log, and in the metrics too.
func (w *world) mustShow(t *testing.T, where, fault string) {
	t.Helper()
	s, failing := w.running, "1"
	if fault == "" {
		failing = "0"
	}
	s.await(t, where, func(now source) bool {
		return (now.Error == "") == (fault == "") && strings.Contains(now.Error, fault)
	})
	if text := s.mustPage(t, "/internal/help?format=text"); !strings.Contains(text, fault) {
		t.Errorf("%q is not in the help page:\n%s", fault, text)
	}
	if got := s.failing(t, where); got != failing {
		t.Errorf("easyops_identity_source_failing of %s is %s, want %s", where, got, failing)
	}
	if fault != "" && s.said(where, fault) == 0 {
		t.Errorf("the log says nothing of %s: %q\n%s", where, fault, s.tail())
	}
}

// breakIssuer has the issuer's keys end in the middle when the server asks for
// them: what it knew stays in force.
func (w *world) breakIssuer(t *testing.T, l *load) {
	t.Helper()
	w.awaitFetch()
	w.issuer.Break(true)
	w.issuer.Rotate(t, "third")
	stranger, err := w.issuer.ServiceToken() // of a key that the server cannot learn of
	if err != nil {
		t.Fatal(err)
	}
	w.mustRefuse(t, stranger)
	w.mustShow(t, w.issuer.URL, "JSON")
	l.pass(t, time.Now())

	w.awaitFetch()
	w.issuer.Break(false)
	w.renewIssued(t)
	w.mustShow(t, w.issuer.URL, "")
	l.pass(t, time.Now())
}

// dropOldOfIssuer has the issuer take its first keys back: their tokens are
// refused when the server has learned of that, though it has verified them.
func (w *world) dropOldOfIssuer(t *testing.T, l *load) {
	t.Helper()
	old := w.issued.get()
	w.awaitFetch()
	w.step(t, l, w.issuer.URL, func() {
		w.issuer.Rotate(t, "fourth")
		w.renewIssued(t)
	})
	w.mustBeForbidden(t, old)
	w.awaitFetch()
	w.issuer.DropOld()
	w.step(t, l, w.issuer.URL, func() {
		w.issuer.Rotate(t, "fifth")
		w.renewIssued(t)
	})
	w.mustRefuse(t, old)
}

// mustBeForbidden wants that a token is known, though not of an operator.
func (w *world) mustBeForbidden(t *testing.T, token string) {
	t.Helper()
	if _, err := w.running.page("/internal/help", token); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("a token of a service that is no operator: %v, want 403", err)
	}
}
