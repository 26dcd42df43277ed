// Package clients tests that all kinds of clients are served on the one port,
// in plaintext and over TLS.
package clients

import (
	"context"
	"io"
	"os/exec"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-easyops/easyops/test/serve"
)

func TestMain(m *testing.M) { serve.Main(m) }

// patience is how long a client may take. Chromium needs most of it.
const patience = time.Minute

// conversation is what every gRPC client says and hears: Echo "hi", Repeat
// "hi" three times, Collect "a" and "b", Chat "a" and "b". In between it sends
// a message that is larger than any buffer or window on the way, and notes how
// much comes back.
type conversation struct {
	Echo    string   `json:"echo"`
	Large   int      `json:"large"`
	Repeat  []string `json:"repeat"`
	Collect string   `json:"collect"`
	Chat    []string `json:"chat"`
}

var large = strings.Repeat("0123456789abcdef", 3<<20/16)

var wanted = conversation{
	Echo:    "hi",
	Large:   len(large),
	Repeat:  []string{"hi", "hi", "hi"},
	Collect: "a\nb",
	Chat:    []string{"a", "b"},
}

func check(t *testing.T, got conversation) {
	t.Helper()
	if !reflect.DeepEqual(got, wanted) {
		t.Errorf("got %+v, want %+v", got, wanted)
	}
}

// endpoint is a running server.
type endpoint struct {
	scheme string // of its URLs
	addr   string
	certs  *serve.Certs // nil in plaintext
}

func (e endpoint) url(path string) string { return e.scheme + "://" + e.addr + path }

// caFile is the file of the CA, or no argument at all.
func (e endpoint) caFile() []string {
	if e.certs == nil {
		return nil
	}
	return []string{e.certs.CA}
}

// everywhere runs a test against a server in plaintext and one with TLS.
func everywhere(t *testing.T, test func(*testing.T, endpoint)) {
	t.Helper()
	t.Run("plaintext", func(t *testing.T) {
		s := serve.Start(t, "-easyops.registry=none")
		test(t, endpoint{scheme: "http", addr: s.Addr})
		mustStop(t, s)
	})
	t.Run("tls", func(t *testing.T) {
		certs := serve.NewCerts(t)
		s := serve.Start(t, append(certs.Flags(), "-easyops.registry=none")...)
		test(t, endpoint{scheme: "https", addr: s.Addr, certs: &certs})
		mustStop(t, s)
	})
}

// mustStop ends a server that no client left in a bad state.
func mustStop(t *testing.T, s *serve.Server) {
	t.Helper()
	s.Signal(t, syscall.SIGTERM)
	if code := s.Wait(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.Log())
	}
}

// run runs a program that must succeed and returns what it printed to standard
// output.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	return runWith(t, nil, dir, name, args...)
}

// runWith is run with something on standard input.
func runWith(t *testing.T, stdin io.Reader, dir, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin, cmd.Dir, cmd.Env = stdin, dir, serve.Environment()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, out, stderr.String())
	}
	return string(out)
}
