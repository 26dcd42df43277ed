package rotation

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/test/provider"
)

// world is a server, those who call it, and all that their identity rests on.
type world struct {
	old, next      authority
	server, client issued
	keys           *keys
	issuer         *provider.Provider
	issued         token // by the issuer
	registry       string
	running        *server
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{old: newAuthority(t), next: newAuthority(t), keys: newKeys(t), issuer: provider.New(t)}
	w.server = newIssued(t, w.old, "echo", "--service="+service, "--dns=localhost", "--ip=127.0.0.1")
	w.client = newIssued(t, w.old, "frontend")
	w.registry = "local:" + filepath.Join(t.TempDir(), "registry")
	w.renewIssued(t)
	return w
}

// start runs the server as a process of its own.
func (w *world) start(t *testing.T) {
	t.Helper()
	w.running = startServer(t, w.server, w.keys, w.registry, pool(t, w.old, w.next),
		"oidc:"+w.issuer.URL+"?audience="+provider.ServiceClient+"&use=service&typ=jwt")
}

// renewIssued gets a token of the issuer.
func (w *world) renewIssued(t *testing.T) {
	t.Helper()
	token, err := w.issuer.ServiceToken()
	if err != nil {
		t.Fatal(err)
	}
	w.issued.set(token)
}

// groups are clients of every kind of identity that the rotation touches.
func (w *world) groups() [][]easyops.DialOption {
	group := func(more ...easyops.DialOption) []easyops.DialOption {
		return append([]easyops.DialOption{easyops.WithFlags(nil), easyops.WithRegistry(w.registry)}, more...)
	}
	anonymous := easyops.WithTLSFiles("", "", w.client.ca())
	return [][]easyops.DialOption{
		group(w.client.option()), // a service by its certificate
		group(w.client.option(), easyops.DialUserToken(w.keys.user.source)), // a user behind it
		group(anonymous, easyops.WithServiceToken(w.keys.service)),          // a service by a token of the file's keys
		group(anonymous, easyops.DialUserToken(w.issued.source)),            // a service by a token of the issuer
		group(anonymous, easyops.DialUserToken(w.keys.user.source)),         // a user alone
	}
}

// step changes something, and waits until server and clients must have seen it.
func (w *world) step(t *testing.T, l *load, where string, change func()) {
	t.Helper()
	var changed time.Time
	w.running.awaitNewer(t, where, func() {
		change()
		changed = time.Now()
	})
	l.pass(t, changed)
}

// rotateCertificates goes from an authority to the next: first it is known to
// all, then all get certificates of it, then the old one goes.
func (w *world) rotateCertificates(t *testing.T, l *load) {
	t.Helper()
	trust := func(authorities ...authority) {
		w.server.trust(t, authorities...)
		w.client.trust(t, authorities...)
	}
	w.step(t, l, w.server.ca(), func() { trust(w.old, w.next) })
	w.step(t, l, w.server.ca(), func() {
		w.next.issue(t, w.server)
		w.next.issue(t, w.client)
	})
	w.step(t, l, w.server.ca(), func() { trust(w.next) })
	w.old, w.next = w.next, w.old
}

// rotateKeys goes from a key of the file to the next: first it is known, then
// all get tokens of it, then the old one goes, and its tokens are refused though
// the server has verified them before.
func (w *world) rotateKeys(t *testing.T, l *load) {
	t.Helper()
	operator := w.keys.operator.get()
	w.running.awaitNewer(t, w.keys.file(), func() { w.keys.rotate(t) })
	if _, err := w.running.page("/internal/help", operator); err != nil {
		t.Errorf("a token of the old key, while that is still known: %v", err)
	}
	w.keys.renew(t)
	l.pass(t, time.Now())
	w.step(t, l, w.keys.file(), func() { w.keys.dropOld(t) })
	w.mustRefuse(t, operator)
}

// mustRefuse wants that a token is good no more.
func (w *world) mustRefuse(t *testing.T, token string) {
	t.Helper()
	if _, err := w.running.page("/internal/help", token); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("a token of a key that is gone: %v, want 401", err)
	}
}

// rotateIssuer has the issuer sign with another key, of which the server learns
// by the first token.
func (w *world) rotateIssuer(t *testing.T, l *load, id string) {
	t.Helper()
	w.awaitFetch()
	fetched := w.issuer.Fetched()
	w.step(t, l, w.issuer.URL, func() {
		w.issuer.Rotate(t, id)
		w.renewIssued(t)
	})
	if n := w.issuer.Fetched() - fetched; n != 1 {
		t.Errorf("the issuer was asked for its keys %d times, want once", n)
	}
}

// awaitFetch waits until the server may ask the issuer again: it does so every
// 15 s at most.
func (w *world) awaitFetch() {
	time.Sleep(time.Until(w.issuer.LastFetch().Add(15200 * time.Millisecond)))
}

// underLoad rotates all that identity rests on while 50 callers call, of whom
// none may notice.
func underLoad(t *testing.T) {
	w := newWorld(t)
	w.start(t)
	l := startLoad(t, w.groups()...)
	l.pass(t, time.Now())
	for range rounds {
		w.rotateCertificates(t, l)
		w.rotateKeys(t, l)
		w.breakAll(t, l)
	}
	w.rotateIssuer(t, l, "second")
	if full {
		w.breakIssuer(t, l)
		w.dropOldOfIssuer(t, l)
	}
	l.end(t)
	w.running.stop(t)
}
