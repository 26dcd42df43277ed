// Package edge is the edge of a fleet: a server like any other, with identity, bounds,
// drain and pages, that has routes in place of services of its own. It adds no rights:
// what it passes on is what callers can prove, and to what is behind it it shows no
// identity of its own.
package edge

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/registry"
)

// Config is what an edge is made of.
type Config struct {
	// File is the path of the routes file.
	File string
	// Handover is the path of the socket by which an edge takes over from one that
	// runs: "" is one in the directory of the user's local registry, named after
	// the address that the edge listens on, and [NoHandover] is none.
	Handover string
	// Anyway has the edge take over also from one that serves in another manner
	// (another registry, authentication or TLS that this one is without), and while
	// the registry does not say where services are.
	Anyway bool
	// Flags has the flags of servers (easyops.RegisterFlags), parsed. Nil means
	// neither flags nor environment variables.
	Flags *flag.FlagSet
	// Options are added to those of the edge's server.
	Options []easyops.ServerOption
	// Logger is the edge's; nil means slog.Default().
	Logger *slog.Logger

	again <-chan os.Signal // asks for a reload
}

// Edge is an edge that runs. Its methods may be called concurrently.
type Edge struct {
	config     Config
	settings   settings
	log        *slog.Logger
	address    string // as configured
	admin      string
	maxMessage int

	registry registry.Registry
	backends *auth.Certificates // verify instances; nil where connections are plain
	certs    *certificates
	table    *Table
	ports    *ports
	server   *easyops.Server
	web      *listener // of HTTPS and gRPC
	pages    *listener // of the status pages
	door     *door
	socket   string // of the door; "" for none
	manner   manner
	// acquainted is whether the registry has said once where services are.
	acquainted atomic.Bool
	leaving    atomic.Bool // handed over, or draining: connections are to go

	changes  sync.Mutex // a reload or a hand-over is under way
	follower follower

	mu      sync.Mutex
	state   FileState
	failure error // why the edge stops by itself

	life       context.Context // ends with the server
	end        context.CancelFunc
	background sync.WaitGroup
	done       chan struct{}
	err        error // of Wait, set before done is closed
}

// Start reads the routes file, takes over from the edge that runs, if one does, and
// serves. It returns when the edge serves and the other one takes no more connections.
// Its error names everything that is wrong; then nothing is left running, and an edge
// that runs goes on.
func Start(c Config) (*Edge, error) {
	e, f, err := newEdge(c)
	if err != nil {
		return nil, err
	}
	if err := e.start(f); err != nil {
		return nil, errors.Join(err, e.release())
	}
	return e, nil
}

// Run starts an edge and serves until SIGTERM or SIGINT, as [easyops.Run] does. SIGHUP
// has it read the routes file again.
func Run(c Config) error {
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP) // from the beginning: it would end the process
	defer signal.Stop(again)
	c.again = again
	e, err := Start(c)
	if err != nil {
		return err
	}
	_ = easyops.Run(e.server, nil) // its error is Wait's too
	return e.Wait()
}

// Check reads a routes file and what it names, as far as that can be done without
// serving. Its error has a line for each fault.
func Check(path string) error {
	f, err := routes.Load(path)
	if err != nil {
		return err
	}
	_, err = (&certificates{log: slog.New(slog.DiscardHandler)}).prepare(f)
	return err
}

// newEdge makes what needs no listener.
func newEdge(c Config) (_ *Edge, _ *routes.File, err error) {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	text, err := routes.Read(c.File)
	if err != nil {
		return nil, nil, err
	}
	f, err := routes.Parse(c.File, text)
	if err != nil {
		return nil, nil, err
	}
	e := &Edge{config: c, settings: settings{c.Flags}, log: c.Logger, done: make(chan struct{})}
	e.life, e.end = context.WithCancel(context.Background())
	e.state = FileState{Path: c.File, Since: time.Now()}
	e.follower = follower{path: c.File, seen: text}
	e.admin, e.maxMessage = e.settings.admin(f), f.MaxMessage()
	e.address, err = e.settings.address(f)
	errs := []error{err, e.openRegistry(), e.openCertificates(f)}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, errors.Join(err, e.release())
	}
	e.manner = e.mannerOf(f)
	e.state.Path = e.manner.File
	if err := e.makeRoutes(f); err != nil {
		return nil, nil, errors.Join(err, e.release())
	}
	return e, f, nil
}

func (e *Edge) openRegistry() (err error) {
	url := e.settings.registry()
	if e.registry, err = registry.Open(url, e.log); err != nil {
		return fmt.Errorf("-easyops.registry or EASYOPS_REGISTRY: %w", err)
	}
	if e.registry == nil {
		return fmt.Errorf("-easyops.registry or EASYOPS_REGISTRY is %q: an edge finds services by a registry, so name one", url)
	}
	return nil
}

// openCertificates opens those of the edge, and the authorities of what is behind it.
func (e *Edge) openCertificates(f *routes.File) error {
	ca := e.settings.get("tls-ca")
	var wrong error
	if ca != "" {
		e.backends, wrong = auth.LoadCertificates(auth.CertFiles{CA: ca}, e.log)
		if wrong != nil {
			wrong = fmt.Errorf("-easyops.tls-ca or EASYOPS_TLS_CA: %w", wrong)
		}
	}
	mtls := slices.Contains(strings.Split(e.settings.get("auth"), ","), "mtls")
	if mtls && len(f.TLS) > 0 && (ca == "" || ca == auth.SystemRoots) {
		wrong = cmp.Or(wrong, errors.New("-easyops.auth has mtls, which needs a file of the authorities that vouch for callers: set -easyops.tls-ca"))
	}
	e.certs = &certificates{ca: ca, log: e.log}
	list, err := e.certs.prepare(f)
	e.certs.set(list)
	return errors.Join(wrong, err)
}

// makeRoutes makes the table of routes.
func (e *Edge) makeRoutes(f *routes.File) error {
	settings, err := e.settings.client()
	if err != nil {
		return err
	}
	c := TableConfig{
		Registry: e.registry,
		Dial:     []easyops.DialOption{settings, easyops.WithLogger(e.log)},
		Zone:     e.settings.zone(),
		Leaving:  e.leaving.Load,
		Logger:   e.log,
	}
	if e.backends != nil {
		c.TLS = e.backendTLS
	}
	e.table = NewTable(c)
	e.ports = newPorts(portsConfig{registry: e.registry, zone: c.Zone, log: e.log, fail: e.fail})
	return e.table.Set(f)
}

// backendTLS is the configuration of connections to HTTP instances of a service, which
// prove by their certificates that they may serve it, as those of gRPC do.
func (e *Edge) backendTLS(service string) *tls.Config {
	return e.backends.Client(e.backends.ServesAs(service, ""), tls.VersionTLS13)
}

// Addr returns the address of HTTPS and gRPC.
func (e *Edge) Addr() net.Addr { return e.web.Addr() }

// AdminAddr returns the address of the status pages.
func (e *Edge) AdminAddr() net.Addr { return e.pages.Addr() }

// TCPAddr returns the address of the TCP route that listens as the file says; nil
// where there is none.
func (e *Edge) TCPAddr(listen string) net.Addr { return e.ports.addr(listen) }

// Wait waits until the edge has stopped, and nothing of it runs any more. Its error is
// that of [easyops.Server.Wait].
func (e *Edge) Wait() error {
	<-e.done
	return e.err
}

// Shutdown stops the edge as [easyops.Server.Shutdown] does a server.
func (e *Edge) Shutdown(ctx context.Context) error {
	err := e.server.Shutdown(ctx)
	<-e.done
	return cmp.Or(e.err, err)
}
