package auth

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLoadCertificates(t *testing.T) {
	ca := newTestCA(t, "The CA")
	dir := newCertDir(t, ca.issue(t, withURI(echoID), withDNS("localhost", echoService)), ca)
	certs := dir.load(nil)
	if got := certs.TrustDomain(); got != domain {
		t.Errorf("trust domain %q", got)
	}
	if diff := cmp.Diff([]string{"localhost", echoService}, certs.DNSNames()); diff != "" {
		t.Error(diff)
	}
	state := certs.State()
	for _, want := range []string{echoID, "localhost", "The CA"} {
		if !strings.Contains(state.What, want) {
			t.Errorf("state %q does not name %q", state.What, want)
		}
	}
	if state.Err != nil || state.Name != "certificates" || !strings.Contains(state.Where, dir.Key) ||
		time.Since(state.Since) > time.Minute || time.Until(state.Expires) > time.Hour || time.Until(state.Expires) < 50*time.Minute {
		t.Errorf("state %+v", state)
	}
}

// What is in force ends with the first that it needs.
func TestExpiresWithTheFirst(t *testing.T) {
	ends := func(after time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotAfter = time.Now().Add(after) }
	}
	ca, between := newTestCA(t, "ca"), newTestCA(t, "between") // for an hour
	for name, tt := range map[string]struct {
		chain [2]time.Duration // own, between
		want  time.Duration
	}{
		"own":       {[2]time.Duration{20 * time.Minute, 40 * time.Minute}, 20 * time.Minute},
		"between":   {[2]time.Duration{40 * time.Minute, 20 * time.Minute}, 20 * time.Minute},
		"authority": {[2]time.Duration{2 * time.Hour, 2 * time.Hour}, time.Hour},
	} {
		own := between.issue(t, withURI(echoID), ends(tt.chain[0]))
		above := sign(t, template(asCA, ends(tt.chain[1])), ca.cert, between.key, ca.key)
		own.cert = append(own.cert, above...)
		got := time.Until(newCertDir(t, own, ca).load(nil).State().Expires)
		if got > tt.want || got < tt.want-5*time.Minute {
			t.Errorf("%s: expires in %v, want %v", name, got, tt.want)
		}
	}
}

// Who has authorities alone is a client; who has nothing has those of the
// system.
func TestClientsAlone(t *testing.T) {
	ca := newTestCA(t, "The CA")
	dir := newCertDir(t, ca.issue(t, withDNS(echoService)), ca)
	for _, tt := range []struct {
		files CertFiles
		what  string
		roots bool
	}{
		{CertFiles{CA: dir.CA}, "The CA", true},
		{CertFiles{CA: SystemRoots}, "the system's authorities", false},
		{CertFiles{}, "the system's authorities", false},
	} {
		c, err := LoadCertificates(tt.files, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.Server() != nil || c.TrustDomain() != "" || c.DNSNames() != nil || c.get().cert != nil {
			t.Errorf("%+v: there is a server's half", tt.files)
		}
		if (c.get().roots != nil) != tt.roots || !strings.Contains(c.State().What, tt.what) {
			t.Errorf("%+v: state %+v", tt.files, c.State())
		}
		c.Refresh(time.Now())
		if err := c.State().Err; err != nil {
			t.Errorf("%+v: %v", tt.files, err)
		}
	}
}

// broken are the ways in which a set of files is not taken. Each breaks a good
// one.
var broken = []struct {
	name  string
	do    func(*certDir, *testCA)
	names string // in the error: a file
	err   string
}{
	{"no certificate", func(d *certDir, _ *testCA) { os.Remove(d.Cert) }, "cert.pem", "no such file"},
	{"no key", func(d *certDir, _ *testCA) { os.Remove(d.Key) }, "key.pem", "no such file"},
	{"no authorities", func(d *certDir, _ *testCA) { os.Remove(d.CA) }, "ca.pem", "no such file"},
	{"empty certificate", func(d *certDir, _ *testCA) { overwrite(d.t, d.Cert, nil) }, "cert.pem", "no certificate"},
	{"empty key", func(d *certDir, _ *testCA) { overwrite(d.t, d.Key, nil) }, "key.pem", "key input"},
	{"empty authorities", func(d *certDir, _ *testCA) { overwrite(d.t, d.CA, nil) }, "ca.pem", "no certificate"},
	{"directory", func(d *certDir, _ *testCA) { os.Remove(d.CA); os.Mkdir(d.CA, 0o700) }, "ca.pem", "directory"},
	{"huge", func(d *certDir, _ *testCA) { overwrite(d.t, d.CA, make([]byte, 2<<20)) }, "ca.pem", "longer than"},
	{"certificate without its key", func(d *certDir, ca *testCA) {
		overwrite(d.t, d.Cert, ca.issue(d.t, withDNS(echoService)).cert)
	}, "key.pem", "does not match"},
	{"key without its certificate", func(d *certDir, ca *testCA) {
		overwrite(d.t, d.Key, ca.issue(d.t, withDNS(echoService)).key)
	}, "cert.pem", "does not match"},
	{"half of the authorities", func(d *certDir, ca *testCA) {
		all := append(bytes.Clone(ca.pem), newTestCA(d.t, "next").pem...)
		overwrite(d.t, d.CA, all[:len(all)-40])
	}, "ca.pem", "in the middle"},
	{"half of the chain", func(d *certDir, ca *testCA) {
		p := ca.issue(d.t, withDNS(echoService))
		p.cert = append(p.cert, ca.pem[:len(ca.pem)/2]...)
		d.own(p)
	}, "cert.pem", "in the middle"},
	{"broken authority among good ones", func(d *certDir, ca *testCA) {
		bad := "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
		overwrite(d.t, d.CA, slices.Concat(ca.pem, []byte(bad), ca.pem))
	}, "ca.pem", "certificate 2"},
	{"expired", func(d *certDir, ca *testCA) { d.own(ca.issue(d.t, withDNS(echoService), expired)) }, "cert.pem", "expired at"},
	{"not yet valid", func(d *certDir, ca *testCA) { d.own(ca.issue(d.t, withDNS(echoService), notYet)) }, "cert.pem", "not valid before"},
	{"common name only", func(d *certDir, ca *testCA) { d.own(ca.issue(d.t)) }, "cert.pem", "common name"},
	{"two SPIFFE IDs", func(d *certDir, ca *testCA) { d.own(ca.issue(d.t, withURI(echoID, otherID))) }, "cert.pem", "the only one"},
	{"SPIFFE ID of an authority", func(d *certDir, ca *testCA) { d.own(ca.issue(d.t, withURI(echoID), asCA)) }, "cert.pem", "authority"},
}

// What is broken from the start is an error that names the file.
func TestBrokenFromTheStart(t *testing.T) {
	ca := newTestCA(t, "ca")
	for _, b := range broken {
		dir := newCertDir(t, ca.issue(t, withURI(echoID)), ca)
		b.do(dir, ca)
		c, err := LoadCertificates(dir.CertFiles, nil)
		if c != nil || err == nil || !strings.Contains(err.Error(), b.err) || !strings.Contains(err.Error(), b.names) {
			t.Errorf("%s: got %v, %v, want an error of %s: %q", b.name, c, err, b.names, b.err)
		}
	}
	for _, files := range []CertFiles{{Cert: "x"}, {Key: "x"}} {
		if _, err := LoadCertificates(files, nil); err == nil || !strings.Contains(err.Error(), "together") {
			t.Errorf("%+v: %v", files, err)
		}
	}
}

// What breaks later leaves what was there in force, which is seen in the state
// and once in the log, until there is something good.
func TestBrokenLater(t *testing.T) {
	ca := newTestCA(t, "ca")
	for _, b := range broken {
		t.Run(b.name, func(t *testing.T) {
			dir, log := newCertDir(t, ca.issue(t, withURI(echoID)), ca), &logLines{}
			certs := dir.load(log.logger())
			before := certs.get()
			b.do(dir, ca)
			for range 3 {
				certs.Refresh(time.Now())
			}
			if certs.get() != before {
				t.Error("the broken set is in force")
			}
			if err := certs.State().Err; err == nil || !strings.Contains(err.Error(), b.err) || !strings.Contains(err.Error(), "since 20") {
				t.Errorf("state: %v, want %q and since when", err, b.err)
			}
			if levels, text := log.take(t); !slices.Equal(levels, []string{"ERROR"}) || !strings.Contains(text, b.err) {
				t.Errorf("log: %s", text)
			}

			os.Remove(dir.CA) // it may be a directory
			dir.own(ca.issue(t, withURI(otherID)))
			dir.authorities(ca)
			certs.Refresh(time.Now())
			if state := certs.State(); state.Err != nil || !strings.Contains(state.What, otherID) {
				t.Errorf("state after the repair: %+v", state)
			}
			certs.Refresh(time.Now())
			if levels, text := log.take(t); !slices.Equal(levels, []string{"INFO", "INFO"}) {
				t.Errorf("log after the repair: %s", text)
			}
		})
	}
}

// A certificate that is not valid yet comes into force when it is, though its
// file does not change any more.
func TestTimeComes(t *testing.T) {
	ca := newTestCA(t, "ca")
	dir := newCertDir(t, ca.issue(t, withURI(echoID)), ca)
	certs := dir.load(nil)
	dir.own(ca.issue(t, withURI(otherID), notYet))
	for _, tt := range []struct {
		after time.Duration
		want  string
	}{{0, echoID}, {30 * time.Second, echoID}, {2 * time.Minute, otherID}} {
		certs.Refresh(time.Now().Add(tt.after))
		if state := certs.State(); !strings.Contains(state.What, tt.want) || (state.Err == nil) != (tt.want == otherID) {
			t.Errorf("after %v: %+v", tt.after, state)
		}
	}
}

// The state says since when something is wrong, though what is wrong changes.
func TestWrongSince(t *testing.T) {
	ca := newTestCA(t, "ca")
	dir := newCertDir(t, ca.issue(t, withURI(echoID)), ca)
	certs, began := dir.load(nil), time.Now().Add(time.Minute)
	for i, path := range []string{dir.Cert, dir.Key, dir.CA} {
		os.Remove(path)
		certs.Refresh(began.Add(time.Duration(i) * time.Minute))
	}
	err := certs.State().Err
	if err == nil || !strings.HasPrefix(err.Error(), "since "+began.Format(time.RFC3339)) || !strings.Contains(err.Error(), dir.CA) {
		t.Errorf("%v, want since %v", err, began)
	}
}

// A certificate that expires while nobody renews it is an error too, but stays:
// there is nothing better.
func TestExpiresInForce(t *testing.T) {
	ca, log := newTestCA(t, "ca"), &logLines{}
	dir := newCertDir(t, ca.issue(t, withURI(echoID)), ca)
	certs := dir.load(log.logger())
	for range 3 {
		certs.Refresh(time.Now().Add(2 * time.Hour))
	}
	if err := certs.State().Err; err == nil || !strings.Contains(err.Error(), "nothing newer") {
		t.Errorf("state: %v", err)
	}
	if levels, text := log.take(t); !slices.Equal(levels, []string{"ERROR"}) {
		t.Errorf("log: %s", text)
	}
	if certs.get().cert == nil {
		t.Error("there is no certificate any more")
	}
}

// A file that goes and comes back is an error for as long; nothing is read again.
func TestGoneForAWhile(t *testing.T) {
	ca, log := newTestCA(t, "ca"), &logLines{}
	dir := newCertDir(t, ca.issue(t, withURI(echoID)), ca)
	certs := dir.load(log.logger())
	before := certs.get()
	aside := filepath.Join(dir.dir, "aside")
	for _, rename := range [][2]string{{dir.Key, aside}, {aside, dir.Key}} {
		if err := os.Rename(rename[0], rename[1]); err != nil {
			t.Fatal(err)
		}
		certs.Refresh(time.Now())
	}
	if certs.get() != before || certs.State().Err != nil {
		t.Errorf("state %+v", certs.State())
	}
	if levels, text := log.take(t); !slices.Equal(levels, []string{"ERROR", "INFO"}) {
		t.Errorf("log: %s", text)
	}
}

func TestChangesAreNoticed(t *testing.T) {
	longAgo := time.Now().Add(-time.Hour)
	for name, change := range map[string]func(path string, data []byte){
		"written in place": func(path string, data []byte) { overwrite(t, path, data) },
		"replaced":         func(path string, data []byte) { replace(t, path, data) },
		"replaced by one of the same size and time": func(path string, data []byte) {
			replace(t, path, data)
			if err := os.Chtimes(path, longAgo, longAgo); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			overwrite(t, path, []byte("old"))
			if err := os.Chtimes(path, longAgo, longAgo); err != nil {
				t.Fatal(err)
			}
			f := &watchedFile{path: path, limit: 10}
			wantLook(t, f, true, "old")
			wantLook(t, f, false, "old")
			change(path, []byte("new"))
			wantLook(t, f, true, "new")
			wantLook(t, f, false, "new")
		})
	}
}

// Within the grain of a file system's clock two modifications bear the same
// time.
func TestSecondChangeInTheSameInstant(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	f := &watchedFile{path: path, limit: 10}
	now := time.Now()
	for _, text := range []string{"one", "two"} {
		overwrite(t, path, []byte(text))
		if err := os.Chtimes(path, now, now); err != nil {
			t.Fatal(err)
		}
		wantLook(t, f, true, text)
	}
}

func wantLook(t *testing.T, f *watchedFile, changed bool, data string) {
	t.Helper()
	got, err := f.look()
	if got != changed || err != nil || string(f.data) != data {
		t.Errorf("changed: %v, %v, data %q, want %v, %q", got, err, f.data, changed, data)
	}
}

// Kubernetes swaps a link to the directory that holds the files.
func TestSwappedLink(t *testing.T) {
	ca := newTestCA(t, "ca")
	dir := t.TempDir()
	for version, id := range map[string]string{"v1": echoID, "v2": otherID} {
		d := newCertDir(t, ca.issue(t, withURI(id)), ca)
		if err := os.Rename(d.dir, filepath.Join(dir, version)); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to string) {
		if err := os.Symlink(to, filepath.Join(dir, "tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	link("v1")
	var files CertFiles
	for name, path := range map[string]*string{"cert.pem": &files.Cert, "key.pem": &files.Key, "ca.pem": &files.CA} {
		*path = filepath.Join(dir, name)
		if err := os.Symlink(filepath.Join("..data", name), *path); err != nil {
			t.Fatal(err)
		}
	}
	certs, err := LoadCertificates(files, nil)
	if err != nil {
		t.Fatal(err)
	}
	link("v2")
	certs.Refresh(time.Now())
	if state := certs.State(); state.Err != nil || !strings.Contains(state.What, otherID) {
		t.Errorf("state %+v", state)
	}
}

// Many authorities are one line.
func TestDescribeAuthorities(t *testing.T) {
	certs := make([]*x509.Certificate, 140)
	for i := range certs {
		certs[i] = template(func(c *x509.Certificate) { c.Subject.CommonName = fmt.Sprint("ca", i) })
	}
	certs[5].NotAfter = certs[5].NotAfter.Add(time.Hour)
	what, expires := describeAuthorities(certs)
	if !strings.Contains(what, "ca2") || !strings.Contains(what, "137 more") || strings.Contains(what, "ca3") || !expires.Equal(certs[5].NotAfter) {
		t.Errorf("%s, %v", what, expires)
	}
}

// The key must not get into logs with the rest.
func TestCertificatesPrintWithoutKey(t *testing.T) {
	ca := newTestCA(t, "ca")
	dir := newCertDir(t, ca.issue(t, withURI(echoID)), ca)
	certs := dir.load(nil)
	want := "certificates of " + strings.Join([]string{dir.Cert, dir.Key, dir.CA}, ", ")
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, certs); got != want {
			t.Errorf("%s: %s", format, got)
		}
	}
}
