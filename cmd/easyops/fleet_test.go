package main

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	greeterv1 "github.com/go-easyops/easyops/example/gen/greeter/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/easyopstest"
	"github.com/go-easyops/easyops/runtime/registry"
)

const (
	echoService    = "echo.v1.EchoService"
	greeterService = "greeter.v1.GreeterService"
)

type (
	echo struct {
		echov1.UnimplementedEchoServiceServer
	}
	greeter struct {
		greeterv1.UnimplementedGreeterServiceServer
	}
)

// fleet is servers that share a registry.
type fleet struct {
	t   *testing.T
	url string // of the registry
	n   int    // servers that serve echo
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	for _, name := range []string{certVariable, keyVariable, caVariable} {
		t.Setenv(name, "")
	}
	dir, err := os.MkdirTemp("", "easyops-test-") // short, as the paths of sockets must be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	url := "local:" + filepath.Join(dir, "registry")
	t.Setenv(registryVariable, url)
	return &fleet{t: t, url: url}
}

func bothServices() []easyops.Service {
	return []easyops.Service{echov1.BindEchoServiceServer(echo{}), greeterv1.BindGreeterServiceServer(greeter{})}
}

// add starts a server of echo, which is standalone, and returns its entry.
func (f *fleet) add(opts ...easyops.ServerOption) registry.Instance {
	f.t.Helper()
	f.n++
	easyopstest.StartStandalone(f.t, bothServices()[:1], append(opts, easyops.WithRegistry(f.url))...)
	return f.newest(echoService, f.n)
}

// addSecure starts one of both services that knows callers.
func (f *fleet) addSecure(opts ...easyops.ServerOption) registry.Instance {
	f.t.Helper()
	f.n++
	easyopstest.Start(f.t, bothServices(), append(opts, easyops.WithRegistry(f.url))...)
	f.newest(greeterService, 1)
	return f.newest(echoService, f.n)
}

// newest waits until n instances of a service are listed and returns the one that
// started last.
func (f *fleet) newest(service string, n int) registry.Instance {
	f.t.Helper()
	all := f.waitFor(service, func(list []registry.Instance) bool { return len(list) == n })
	return slices.MaxFunc(all, func(a, b registry.Instance) int { return a.Started.Compare(b.Started) })
}

// waitFor waits until a service is listed as wanted.
func (f *fleet) waitFor(service string, wanted func([]registry.Instance) bool) (all []registry.Instance) {
	f.t.Helper()
	l := lookup{url: f.url, timeout: lifetime(10 * time.Second)}
	if err := l.open(io.Discard); err != nil {
		f.t.Fatal(err)
	}
	var err error
	defer l.close(&err)
	ok, err := l.until(f.t.Context(), service, func(list []registry.Instance) bool {
		all = slices.Clone(list)
		return wanted(list)
	})
	if !ok || err != nil {
		f.t.Fatalf("%v are listed: %v", all, err)
	}
	return all
}

// expect calls a command line whose standard output, or error where the code is
// not 0, must be as wanted. Ages and versions of Go are written as such in it.
func expect(t *testing.T, wantCode int, want string, args ...string) {
	t.Helper()
	code, stdout, stderr := call(args...)
	got := stdout
	if wantCode != 0 {
		got = stderr
	}
	if want = strings.TrimPrefix(want, "\n"); code != wantCode || plain(got) != plain(want) {
		t.Errorf("easyops %s: code %d\n%s\nwant code %d\n%s\nstdout %s\nstderr %s", strings.Join(args, " "), code, got, wantCode, want, stdout, stderr)
	}
}

var (
	spaces   = regexp.MustCompile(` +`)
	ages     = regexp.MustCompile(`\b([0-9]+[dhm])?[0-9]+[hms]\b`)
	versions = regexp.MustCompile(`\bgo1[.][0-9.]+`)
)

// plain is a table without what differs from run to run.
func plain(table string) string {
	table = ages.ReplaceAllString(table, "AGE")
	table = versions.ReplaceAllString(table, "GO")
	var lines []string
	for line := range strings.Lines(table) {
		lines = append(lines, strings.TrimSpace(spaces.ReplaceAllString(line, " ")))
	}
	return strings.Join(lines, "\n")
}

func decode[T any](t *testing.T, text string) (v T) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

// file writes one with the text and returns its path.
func tempFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// serverTLS is what a server has that is none of ours.
func serverTLS(t *testing.T, cert, key string) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}
