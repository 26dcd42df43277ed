package main

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/easyopstest"
)

// testAuthority makes one that has issued a certificate to each name.
func testAuthority(t *testing.T, issue ...string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "ca")
	mustCall(t, "ca", "new", dir)
	for _, args := range issue {
		mustCall(t, append(append([]string{"ca", "issue"}, strings.Fields(args)...), dir)...)
	}
	return dir
}

// filesOf are the flags that name the certificate of a program, or where it has
// none the authority alone.
func filesOf(dir, name string) (flags []string) {
	if name == "" {
		return []string{"--ca", filepath.Join(dir, caFile)}
	}
	at := func(file string) string { return filepath.Join(dir, name, file) }
	return []string{"--cert", at("cert.pem"), "--key", at("key.pem"), "--ca", at("ca.pem")}
}

func serverFiles(dir, name string) easyops.ServerOption {
	at := func(file string) string { return filepath.Join(dir, name, file) }
	return easyops.WithTLSFiles(at("cert.pem"), at("key.pem"), at("ca.pem"))
}

func TestStatusByTLS(t *testing.T) {
	f := newFleet(t)
	ca := testAuthority(t, "--id echo --service "+echoService+" --service "+greeterService, "--id ops", "--id host --service other --ip 127.0.0.1")
	a := f.addSecure(serverFiles(ca, "echo"), easyops.WithAuth("mtls"), easyops.WithOperators("service:ops", "user:alice"))
	alice := tempFile(t, easyopstest.UserToken("alice"))
	with := func(files []string, args ...string) []string {
		return append(append([]string{"status"}, args...), files...)
	}
	ok := func(args []string) {
		t.Helper()
		if text := mustCall(t, args...); !strings.Contains(plain(text), a.ID+" "+a.Addr+" READY READY none - AGE ") {
			t.Error(text)
		}
	}
	fails := func(says string, args []string) {
		t.Helper()
		if code, stdout, stderr := call(args...); code != 1 || !strings.Contains(stderr, says) {
			t.Errorf("%q: code %d\n%s\n%s", args, code, stdout, stderr)
		}
	}
	ok(with(filesOf(ca, "ops"), echoService))
	ok(with(filesOf(ca, "ops"), a.ID))
	ok(with(filesOf(ca, ""), echoService, "--token-file", alice))
	ok(with(filesOf(ca, "ops"), a.Addr, "--service", greeterService))
	fails("it does not know who asks", with(filesOf(ca, ""), echoService))
	fails("it does not take this from whom --cert is of", with(filesOf(ca, "host"), echoService))
	fails("--service names the service that the certificate is for", with(filesOf(ca, "ops"), a.Addr))
	fails("and not of other", with(filesOf(ca, "ops"), a.Addr, "--service", "other"))
	fails("unknown authority", with(filesOf(testAuthority(t), ""), echoService))
	fails("--ca names the authorities", with(nil, echoService))
	fails("a certificate and its key go together", with([]string{"--cert", "x"}, echoService))

	t.Setenv(certVariable, filepath.Join(ca, "ops", "cert.pem"))
	t.Setenv(keyVariable, filepath.Join(ca, "ops", "key.pem"))
	t.Setenv(caVariable, filepath.Join(ca, "ops", "ca.pem"))
	ok([]string{"status", echoService})
	b := f.add() // speaks no TLS
	fails(b.Addr+": it does not speak TLS: leave out --ca", []string{"status", echoService})
}

// planted is a server that somebody wrote into the registry. It notes what comes.
type planted struct {
	addr  string
	heard atomic.Int32 // requests
	token atomic.Int32 // requests with a token
}

func plant(t *testing.T, l net.Listener, tlsFiles ...string) *planted {
	t.Helper()
	p := &planted{addr: l.Addr().String()}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		p.heard.Add(1)
		if r.Header.Get("Authorization") != "" {
			p.token.Add(1)
		}
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	s.Listener.Close()
	s.Listener = l
	if tlsFiles == nil {
		s.Start()
	} else {
		s.TLS = serverTLS(t, tlsFiles[0], tlsFiles[1])
		s.StartTLS()
	}
	t.Cleanup(s.Close)
	return p
}

// Whoever can write to the registry gets no token with a certificate of another
// service, though the same authority issued it.
func TestPlantedInstanceGetsNoToken(t *testing.T) {
	f := newFleet(t)
	ca := testAuthority(t, "--id echo --service "+echoService, "--id evil --service evil")
	alice := tempFile(t, easyopstest.UserToken("alice"))
	for _, test := range []struct {
		name  string
		gets  int32
		where string
	}{{"evil", 0, "and not of " + echoService}, {"echo", 1, ""}} { // the second is the control
		t.Run(test.name, func(t *testing.T) {
			p := plant(t, listen(t, "127.0.0.1:0"), filepath.Join(ca, test.name, "cert.pem"), filepath.Join(ca, test.name, "key.pem"))
			i := entry(test.name, echoService)
			i.Addr = p.addr
			f.list(i)
			for _, args := range []string{"status", "drain"} {
				code, _, stderr := call(append([]string{args, test.name, "--token-file", alice}, filesOf(ca, "")...)...)
				if code != 1 || !strings.Contains(stderr, test.where) {
					t.Errorf("code %d: %s", code, stderr)
				}
			}
			if got := p.token.Load(); got != 2*test.gets || p.heard.Load() != got {
				t.Errorf("it got %d tokens", got)
			}
		})
	}
}

// What is not encrypted stays on this machine, but for requests without a token
// that are asked for. The last case is the control.
func TestPlaintextStaysHere(t *testing.T) {
	newFleet(t)
	p := plant(t, listen(t, net.JoinHostPort(outsideAddress(t), "0")))
	alice := tempFile(t, easyopstest.UserToken("alice"))
	for _, test := range []struct {
		args  []string
		says  string
		heard int32
	}{
		{nil, "it is on another machine", 0},
		{[]string{"--token-file", alice}, "the token would go to another machine unencrypted", 0},
		{[]string{"--token-file", alice, "--insecure-plaintext"}, "the token would go to another machine unencrypted", 0},
		{[]string{"--insecure-plaintext"}, "", 1},
	} {
		for _, command := range []string{"status", "drain", "undrain"} {
			before := p.heard.Load()
			code, _, stderr := call(append([]string{command, p.addr}, test.args...)...)
			if code != 1 || !strings.Contains(stderr, test.says) {
				t.Errorf("%s %q: code %d: %s", command, test.args, code, stderr)
			}
			if heard := p.heard.Load() - before; heard != test.heard {
				t.Errorf("%s %q: %d requests", command, test.args, heard)
			}
		}
	}
	if p.token.Load() != 0 {
		t.Error("a token went out")
	}
}

// The token goes to a port of this machine without TLS where its user has named it,
// or what he runs has listed it, and not unasked where others may have.
func TestTokenInPlaintextHere(t *testing.T) {
	f := newFleet(t)
	alice := tempFile(t, easyopstest.UserToken("alice"))
	p := plant(t, listen(t, "127.0.0.1:0"))
	i := entry("planted", echoService)
	i.Addr = p.addr
	f.list(i)
	others := given{i}.open()
	for _, test := range []struct {
		args, says string
		sent       bool
	}{
		{"--registry " + others + " " + echoService, "others write to the registry", false},
		{"--registry " + others + " planted", "others write to the registry", false},
		{"--registry " + others + " --insecure-plaintext " + echoService, "", true},
		{"--registry " + others + " " + p.addr, "", true},
		{"--registry " + f.url + " " + echoService, "", true},
		{"--registry " + f.url + " planted", "", true},
	} {
		for _, command := range []string{"status", "flags"} {
			before := p.token.Load()
			code, _, stderr := call(append([]string{command, "--token-file", alice}, strings.Fields(test.args)...)...)
			if sent := p.token.Load() > before; code != 1 || sent != test.sent || !strings.Contains(stderr, test.says) {
				t.Errorf("%s %s: code %d, sent %v: %s", command, test.args, code, sent, stderr)
			}
		}
	}
	if p.token.Load() != p.heard.Load() {
		t.Errorf("%d requests, %d tokens", p.heard.Load(), p.token.Load())
	}
	code, _, stderr := call("status", "--registry", others, echoService) // without a token nothing is lost
	if code != 1 || p.token.Load() == p.heard.Load() {
		t.Errorf("code %d: %s", code, stderr)
	}
}

// outsideAddress is one of this machine that is none of loopback.
func outsideAddress(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP.String()
		}
	}
	t.Skip("this machine has loopback addresses only")
	return ""
}

func listen(t *testing.T, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A server cannot lead elsewhere, nor fill the terminal or the memory.
func TestHostileServer(t *testing.T) {
	newFleet(t)
	elsewhere := plant(t, listen(t, "127.0.0.1:0"))
	var answer http.HandlerFunc
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r) }))
	t.Cleanup(s.Close)
	alice := tempFile(t, "t")
	wantCode := map[string]int{"state": 0} // it is an answer
	for name, f := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+elsewhere.addr+"/", http.StatusTemporaryRedirect)
		},
		"control characters": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "{\"error\":\"\\u001b[2J\\u009b\u202e"+strings.Repeat("x", 10_000)+"\"}")
		},
		"state": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "{\"state\":\"\\u001b[2J"+strings.Repeat("\\u009b", 10_000)+"\"}")
		},
		"no end": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat(" ", 1<<20)); err != nil {
					return
				}
			}
		},
		"headers": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) },
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ready") },
	} {
		t.Run(name, func(t *testing.T) {
			answer = f
			code, stdout, stderr := call("status", "--token-file", alice, "--timeout", "5s", s.Listener.Addr().String())
			if want, ok := wantCode[name]; !ok && (code != 1 || stderr == "") || ok && code != want {
				t.Errorf("code %d, %.3000q", code, stderr)
			}
			if len(stdout)+len(stderr) > 2000 || strings.ContainsAny(stdout+stderr, "\x1b\u009b\u202e") {
				t.Errorf("%.3000q, %.3000q", stdout, stderr)
			}
		})
	}
	if elsewhere.heard.Load() != 0 {
		t.Error("it was led elsewhere")
	}
}

// Nor does whoever adds an entry of another service to the ID of an instance. The
// second is the control.
func TestPlantedEntryOfAnInstanceGetsNoToken(t *testing.T) {
	f := newFleet(t)
	ca := testAuthority(t, "--id echo --service "+echoService+" --service evil", "--id evil --service evil")
	alice := tempFile(t, easyopstest.UserToken("alice"))
	for n, name := range []string{"evil", "echo"} {
		p := plant(t, listen(t, "127.0.0.1:0"), filepath.Join(ca, name, "cert.pem"), filepath.Join(ca, name, "key.pem"))
		mine, added := entry("of"+name, echoService), entry("of"+name, "evil")
		mine.Kinds = mine.Kinds[:1] // it has no status API, the stranger says that it has
		added.Addr = p.addr
		f.list(mine, added)
		code, _, stderr := call(append([]string{"drain", "of" + name, "--token-file", alice}, filesOf(ca, "")...)...)
		if code != 1 || p.token.Load() != int32(n) || n == 0 && !strings.Contains(stderr, "and not of "+echoService) {
			t.Errorf("%s: code %d, %d tokens: %s", name, code, p.token.Load(), stderr)
		}
	}
}

// A port where something else answers is not said to be an older server.
func TestNoServerOfEasyops(t *testing.T) {
	newFleet(t)
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	addr := strings.TrimPrefix(s.URL, "http://")
	for _, command := range []string{"drain", "undrain"} {
		expect(t, 1, "easyops: "+addr+": no easyops server answers there with a status API: 404 Not Found\n", command, addr)
	}
	if code, stdout, stderr := call("status", addr); code != 1 || !strings.Contains(stdout+stderr, "no easyops server answers there") {
		t.Errorf("code %d, %s, %s", code, stdout, stderr)
	}
}
