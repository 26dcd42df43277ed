package auth

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// traffic is many clients that connect over and over again while files change.
type traffic struct {
	t        *testing.T
	failures atomic.Int64
	first    atomic.Pointer[error]
	rounds   []atomic.Int64 // connections of each client
	stop     chan struct{}
	wg       sync.WaitGroup
}

func startTraffic(t *testing.T, clients int, server, client *tls.Config) *traffic {
	t.Helper()
	lis, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	tr := &traffic{t: t, rounds: make([]atomic.Int64, clients), stop: make(chan struct{})}
	tr.wg.Go(func() { tr.serve(lis) })
	for i := range clients {
		tr.wg.Go(func() {
			for !tr.stopped() {
				tr.note(dialOne(lis.Addr().String(), client))
				tr.rounds[i].Add(1)
			}
		})
	}
	t.Cleanup(func() {
		close(tr.stop)
		lis.Close()
		tr.wg.Wait()
	})
	return tr
}

func (tr *traffic) stopped() bool {
	select {
	case <-tr.stop:
		return true
	default:
		return false
	}
}

// serve wants a verified certificate of each client.
func (tr *traffic) serve(lis net.Listener) {
	for {
		nc, err := lis.Accept()
		if err != nil {
			return
		}
		tr.wg.Go(func() {
			defer nc.Close()
			_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
			buf := make([]byte, 1)
			if _, err := nc.Read(buf); err == nil && len(nc.(*tls.Conn).ConnectionState().VerifiedChains) > 0 {
				_, _ = nc.Write(buf)
			}
		})
	}
}

func (tr *traffic) note(err error) {
	if err != nil && !tr.stopped() {
		tr.failures.Add(1)
		tr.first.CompareAndSwap(nil, &err)
	}
}

// pass waits until each client has begun and ended a connection.
func (tr *traffic) pass() {
	tr.t.Helper()
	want := make([]int64, len(tr.rounds))
	for i := range tr.rounds {
		want[i] = tr.rounds[i].Load() + 2
	}
	deadline := time.Now().Add(30 * time.Second)
	for i := range tr.rounds {
		for ; tr.rounds[i].Load() < want[i]; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				tr.t.Fatal("the clients do not get on")
			}
		}
	}
}

func (tr *traffic) failed() (n int64, first error) {
	if err := tr.first.Load(); err != nil {
		first = *err
	}
	return tr.failures.Load(), first
}

// rotating is a server and a client with files of their own, both by the same
// authority.
type rotating struct {
	serverDir, clientDir *certDir
	server, client       *Certificates
	*traffic
}

func newRotating(t *testing.T, clients int, ca *testCA) *rotating {
	t.Helper()
	r := &rotating{
		serverDir: newCertDir(t, ca.issue(t, withURI(echoID)), ca),
		clientDir: newCertDir(t, ca.issue(t, withURI(otherID)), ca),
	}
	r.server, r.client = r.serverDir.load(nil), r.clientDir.load(nil)
	client := r.client.Client(r.client.ServesAs(echoService, ""), tls.VersionTLS13)
	client.CurvePreferences = []tls.CurveID{tls.X25519} // the default takes long under the race detector
	r.traffic = startTraffic(t, clients, r.server.Server(), client)
	r.pass()
	return r
}

// step changes files of both and lets all clients see that.
func (r *rotating) step(change func(*certDir, string)) {
	r.t.Helper()
	change(r.serverDir, echoID)
	change(r.clientDir, otherID)
	r.server.Refresh(time.Now())
	r.client.Refresh(time.Now())
	for _, c := range []*Certificates{r.server, r.client} {
		if err := c.State().Err; err != nil {
			r.t.Error(err)
		}
	}
	r.pass()
}

// Certificates, keys and authorities change under 50 clients, and no connection
// fails: the new authority is known before anything is of it, and the old one
// goes when nothing is of it any more. It takes some seconds: each step waits
// for a whole connection of each client.
func TestRotationUnderLoad(t *testing.T) {
	old, next := newTestCA(t, "old"), newTestCA(t, "next")
	r := newRotating(t, 50, old)
	r.step(func(d *certDir, id string) {
		d.own(old.issue(t, withURI(id)))
		d.authorities(old, next)
	})
	r.step(func(d *certDir, id string) { d.own(next.issue(t, withURI(id))) })
	r.step(func(d *certDir, _ string) { d.authorities(next) })
	if n, err := r.failed(); n > 0 {
		t.Errorf("%d connections failed, such as: %v", n, err)
	}
	if r.server.get().roots.Equal(old.pool()) || !r.server.get().roots.Equal(next.pool()) {
		t.Error("the old authority is still in force")
	}
}

// The control: a rotation in the wrong order is noticed.
func TestRotationInTheWrongOrder(t *testing.T) {
	old, next := newTestCA(t, "old"), newTestCA(t, "next")
	r := newRotating(t, 5, old)
	r.step(func(d *certDir, id string) { d.own(next.issue(t, withURI(id))) })
	if n, _ := r.failed(); n == 0 {
		t.Error("no connection failed")
	}
}

// Broken files under load fail no connection either.
func TestHalfWrittenUnderLoad(t *testing.T) {
	ca := newTestCA(t, "ca")
	r := newRotating(t, 3, ca)
	both := map[*certDir]*Certificates{r.serverDir: r.server, r.clientDir: r.client}
	for _, b := range broken {
		for dir, certs := range both {
			b.do(dir, ca)
			certs.Refresh(time.Now())
			if certs.State().Err == nil {
				t.Errorf("%s: not noticed", b.name)
			}
		}
		r.pass()
		for dir, certs := range both {
			os.Remove(dir.CA) // it may be a directory
			dir.own(ca.issue(t, withURI(echoID)))
			dir.authorities(ca)
			certs.Refresh(time.Now())
			if err := certs.State().Err; err != nil {
				t.Errorf("%s: after the repair: %v", b.name, err)
			}
		}
	}
	if n, err := r.failed(); n > 0 {
		t.Errorf("%d connections failed, such as: %v", n, err)
	}
}

// A client in a program without a server has nobody who calls Refresh: it looks
// itself when it connects.
func TestClientLooksItself(t *testing.T) {
	old, next := newTestCA(t, "old"), newTestCA(t, "next")
	dir := newCertDir(t, old.issue(t, withURI(otherID)), old)
	certs := dir.load(nil)
	client := certs.Client(ServesAs(echoService, ""), 0)
	server := &tls.Config{
		Certificates: []tls.Certificate{next.issue(t, withDNS(echoService)).tls(t)},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: next.pool(),
	}
	dir.own(next.issue(t, withURI(otherID)))
	dir.authorities(next)
	if o := shake(t, server, client); o.client == nil {
		t.Fatal("the client looked though it had just done")
	}
	age(&certs.watched)
	wantOutcome(t, shake(t, server, client), "")
}

// age makes the last look one of long ago.
func age[T any](w *watched[T]) {
	longAgo := time.Now().Add(-time.Hour)
	w.looked.Store(&longAgo)
}

// The identity of a certificate follows the server's trust domain, and ends with
// the certificate, on connections that are open as well.
func TestMTLSOnOpenConnections(t *testing.T) {
	own := domain
	mtls := MTLS(func() string { return own })
	leaf := template(withURI(echoID))
	check := func(wantErr, wantNamed bool) {
		t.Helper()
		id, err := mtls.Authenticate(context.Background(), Credential{Certs: chain(leaf)})
		if (err != nil) != wantErr {
			t.Fatalf("%v, want an error: %v", err, wantErr)
		}
		if named := (Access{Services: []string{echoService}}).Check(id) == nil; named != wantNamed {
			t.Errorf("a rule may name it: %v, want %v", named, wantNamed)
		}
	}
	check(false, true)
	own = "elsewhere.net"
	check(false, false)
	own = ""
	check(false, false)
	own = domain
	check(false, true)
	leaf.NotAfter = time.Now().Add(-time.Second)
	check(true, false)
}
