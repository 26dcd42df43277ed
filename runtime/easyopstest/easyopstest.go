// Package easyopstest runs services in the process of a test: the real server
// and the real call path, kept apart from everything else on the machine, with
// users and services that need no identity provider.
package easyopstest

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/easyops"
)

// Server is a server that lives as long as its test.
type Server struct {
	*easyops.Server
	dir string
}

// Start serves the services until the end of the test, on a free port of the
// loopback interface. The server reads neither flags nor environment and lists
// itself in a registry of its own; it logs to the test. It authenticates callers
// by the tokens of [AsUser] and [AsService], so that the access rules hold:
// without either, calls are UNAUTHENTICATED unless the method is for EVERYONE.
// The options come after those of easyopstest and win over them;
// authenticators that they name are asked as well. A server that cannot be
// started, or that does not stop in an orderly way, fails the test.
func Start(t testing.TB, services []easyops.Service, opts ...easyops.ServerOption) *Server {
	t.Helper()
	dir := tempDir(t)
	return start(t, dir, services, append(authenticators(t, dir, logger(t)), opts...))
}

// StartStandalone is [Start] for a server that authenticates nobody, as one of
// which nothing is configured: access rules pass, there is no user, tokens are
// refused, and who runs the test is operator.
func StartStandalone(t testing.TB, services []easyops.Service, opts ...easyops.ServerOption) *Server {
	t.Helper()
	return start(t, tempDir(t), services, opts)
}

func start(t testing.TB, dir string, services []easyops.Service, opts []easyops.ServerOption) *Server {
	t.Helper()
	all := []easyops.ServerOption{
		common(dir),
		easyops.WithLogger(logger(t)),
		easyops.WithAddr("127.0.0.1:0"),
		easyops.WithDrainDelay(0),
		easyops.WithStreamGrace(time.Second),
		easyops.WithShutdownTimeout(10 * time.Second),
	}
	s, err := easyops.Start(services, append(all, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		easyops.CloseIdleTCP() // what DialTCP keeps would look at the directory still
		if err := s.Shutdown(context.Background()); err != nil {
			t.Errorf("the server did not stop in an orderly way: %v", err)
		}
	})
	return &Server{s, dir}
}

func logger(t testing.TB) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

// Client is an option for generated Dial functions and [easyops.Dial] that
// finds this server. What is dialled must be closed by the test.
func (s *Server) Client() easyops.DialOption { return common(s.dir) }

func common(dir string) easyops.Option {
	return easyops.WithOptions(easyops.WithFlags(nil), easyops.WithRegistry("local:"+dir))
}

// tempDir makes a directory for a server's registry and public keys. Its path is
// short, because the names of sockets must be, and t.TempDir's can be long.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "easyops-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
