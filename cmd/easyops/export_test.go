package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// exported is a registry with a routes file for it.
type exported struct {
	t                *testing.T
	dir, url, routes string
	reg              registry.Registry
}

const exportRoutes = `listen: ":8443"
http: [{path: /, service: site, allow: EVERYONE}]
`

func newExported(t *testing.T, text string) *exported {
	t.Helper()
	dir := t.TempDir()
	e := &exported{t: t, dir: dir, url: "local:" + filepath.Join(dir, "registry"), routes: filepath.Join(dir, "edge.yaml")}
	t.Setenv(registryVariable, e.url)
	t.Setenv(caVariable, "")
	e.write(e.routes, text)
	var err error
	if e.reg, err = registry.Open(e.url, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.reg.Close() })
	return e
}

func (e *exported) write(path, text string) {
	e.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		e.t.Fatal(err)
	}
}

// add lists an instance of a service.
func (e *exported) add(service, addr string, kind registry.Kind) registry.Lease {
	e.t.Helper()
	lease, err := e.reg.Register(e.t.Context(), []registry.Instance{{
		ID: registry.NewID(), Service: service, Addr: addr, Kinds: []registry.Kind{kind}, Health: registry.Ready, Started: time.Now(),
	}})
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = lease.Close(context.Background()) })
	return lease
}

func TestExport(t *testing.T) {
	e := newExported(t, exportRoutes+"grpc: [{service: \"*\", allow: EVERYONE}]\n")
	e.add("site", "127.0.0.1:4100", registry.KindHTTP)
	e.add("echo.v1.EchoService", "127.0.0.1:4200", registry.KindGRPC)
	text := mustCall(t, "export", "haproxy", "--routes", e.routes)
	for _, part := range []string{"written by easyops export haproxy from\n#   " + e.routes + "\n#   local registry in ", " 127.0.0.1:4100 ", "backend grpc_echo.v1.EchoService", "user haproxy"} {
		if !strings.Contains(text, part) {
			t.Errorf("there is no %q in\n%s", part, text)
		}
	}
	out := filepath.Join(e.dir, "haproxy.cfg")
	mark := filepath.Join(e.dir, "reloaded")
	if said := mustCall(t, "export", "haproxy", "--routes", e.routes, "-o", out, "--reload", "touch "+mark); !strings.HasPrefix(said, "wrote "+out+"\nreloaded in ") {
		t.Errorf("it says %q", said)
	}
	if written, err := os.ReadFile(out); err != nil || string(written) != text {
		t.Errorf("the file differs from what is printed: %v", err)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Error(err)
	}
}

func TestExportWrong(t *testing.T) {
	e := newExported(t, exportRoutes)
	bad := filepath.Join(e.dir, "bad.yaml")
	e.write(bad, "http: [{path: /, service: site, alow: EVERYONE}]\n")
	for _, c := range []struct {
		args, says string
		code       int
	}{
		{"export", "", 0},
		{"export apache", `no command "apache"`, 2},
		{"export haproxy", "--routes edge.yaml", 2},
		{"export nginx --routes " + e.routes + " more", "takes no arguments", 2},
		{"export nginx --routes " + e.routes + " --watch", "name it with -o", 2},
		{"export nginx --routes " + e.routes + " --reload true", "name it with -o", 2},
		{"export nginx --linger 0s --routes " + e.routes, "at least 1s", 2},
		{"export nginx --routes " + e.routes + "x", "no such file", 1},
		{"export nginx --routes " + bad, bad + ":1", 1},
		{"export nginx --routes " + e.routes + " --registry none", "nothing can be found", 2},
		{"export nginx --routes " + e.routes + " --registry local:" + e.routes, "cannot be asked", 2},
		{"export nginx --routes " + e.routes + " -o " + e.dir + "/none/nginx.conf", "no such file", 1},
		{"export nginx --routes " + e.routes + " -o " + e.dir + "/nginx.conf --reload false", "reload command failed", 1},
	} {
		code, _, stderr := call(strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(stderr, c.says) {
			t.Errorf("%s: code %d, %q, want %d and %q", c.args, code, stderr, c.code, c.says)
		}
	}
}

// TestExportWatch follows a registry, a certificate and a reload that fails.
func TestExportWatch(t *testing.T) {
	e := newExported(t, strings.Replace(exportRoutes, "\n", "\ntls: [{cert: cert.pem, key: key.pem}]\n", 1))
	mustCall(t, "ca", "new", filepath.Join(e.dir, "ca"))
	issue := func() {
		mustCall(t, "ca", "issue", "--force", "--id", "edge", "--dns", "localhost", "--out", e.dir, filepath.Join(e.dir, "ca"))
	}
	issue()
	count, fail := filepath.Join(e.dir, "count"), filepath.Join(e.dir, "fail")
	out := filepath.Join(e.dir, "haproxy.cfg")
	stop, said := e.watch(out, fmt.Sprintf("echo >> %s; test ! -e %s", count, fail))
	reloads := func() int { text, _ := os.ReadFile(count); return len(text) }
	holds := func(part string) func() bool {
		return func() bool { text, _ := os.ReadFile(out); return strings.Contains(string(text), part) }
	}
	until(t, "the file", holds("no instance is listed"))
	e.add("site", "127.0.0.1:4100", registry.KindHTTP)
	until(t, "an instance", holds(" 127.0.0.1:4100 "))
	until(t, "a reload", func() bool { return reloads() == 2 })

	issue()
	until(t, "a reload for the certificate", func() bool { return reloads() == 3 })
	if target, err := os.Readlink(out + ".certs/1.pem.key"); err != nil || target != filepath.Join(e.dir, "key.pem") {
		t.Errorf("the link to the key leads to %s, %v", target, err)
	}

	e.write(fail, "")
	e.add("site", "127.0.0.1:4200", registry.KindHTTP)
	until(t, "a reload that fails", func() bool { return reloads() >= 4 })
	if err := os.Remove(fail); err != nil {
		t.Fatal(err)
	}
	n := reloads()
	until(t, "a reload that is tried again", func() bool { return reloads() > n })
	stop()
	if text := said.String(); strings.Count(text, "the reload command failed: exit status 1: it is tried again") != 1 {
		t.Errorf("it says\n%s", text)
	}
}

// watch runs easyops export haproxy --watch until stop is called.
func (e *exported) watch(out, command string) (stop func(), said *bytes.Buffer) {
	e.t.Helper()
	ctx, cancel := context.WithCancel(e.t.Context())
	said = &bytes.Buffer{}
	root := rootCommand(strings.NewReader(""), said, said)
	root.SetArgs([]string{"export", "haproxy", "--routes", e.routes, "-o", out, "--watch", "--reload", command})
	ended := make(chan error, 1)
	go func() { ended <- root.ExecuteContext(ctx) }()
	stop = func() {
		cancel()
		if err := <-ended; err != nil {
			e.t.Error(err)
		}
	}
	return stop, said
}

// until waits for something that should take milliseconds.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("not in time: %s", what)
}

// Reloads are farther apart once there were many, because each leaves processes.
func TestReloadPause(t *testing.T) {
	var w exportWriter
	now := time.Now()
	if d := w.pause(now); d > 0 {
		t.Errorf("the first reload waits %v", d)
	}
	for range manyReloads - 1 {
		w.reloads = append(w.reloads, now)
	}
	if d := w.pause(now); d != reloadPause {
		t.Errorf("after some: %v", d)
	}
	w.reloads = append(w.reloads, now)
	if d := w.pause(now); d != manyPause {
		t.Errorf("after many: %v", d)
	}
	if d := w.pause(now.Add(manyTime + 1)); d > 0 || len(w.reloads) > 0 {
		t.Errorf("long after: %v, %d are kept", d, len(w.reloads))
	}
}
