// Command runcluster is `make run-cluster`: services of the example on an etcd
// of their own, to try things on. It prints what to try, and runs until Ctrl-C.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
	_ "github.com/go-easyops/easyops/runtime/registry/etcd" // etcd:// URLs
	"github.com/go-easyops/easyops/test/etcdserver"
)

const (
	echoService    = "echo.v1.EchoService"
	greeterService = "greeter.v1.GreeterService"
	pageService    = "guestbook-page"
	linesService   = "lines"

	anyAddr      = "-easyops.addr=127.0.0.1:0"
	echoes       = 3
	startTimeout = 30 * time.Second
)

func main() {
	bin := flag.String("bin", ".bin", "the `directory` with the programs of the example")
	flag.Parse()
	if err := run(*bin); err != nil {
		fmt.Fprintln(os.Stderr, "run-cluster:", err)
		os.Exit(1)
	}
}

// run starts everything, waits for a signal and stops everything. A second
// signal hurries.
func run(bin string) (err error) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)

	dir, err := os.MkdirTemp("", "easyops-cluster-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	etcd, err := etcdserver.Start(dir, 1)
	if err != nil {
		return err
	}
	defer etcd.Close()

	var all processes
	defer func() { err = errors.Join(err, all.stop(signals)) }()
	front, err := newEdge(dir)
	if err != nil {
		return err
	}
	serve := func(name, program string, args ...string) {
		all.start(name, filepath.Join(bin, program), append(args, "-easyops.registry="+etcd.URL())...)
	}
	for n := range echoes {
		serve(fmt.Sprintf("echo-%d", n+1), "echo", anyAddr)
	}
	serve("greeter", "greeter", anyAddr)
	serve("page", "page", anyAddr)
	serve("lines", "lines", anyAddr)
	serve("edge", "easyops", "edge", front.File, "--handover="+front.Socket)
	if all.err != nil {
		return all.err
	}
	listed, err := await(etcd.URL(), front, signals)
	if err != nil || listed == nil {
		return err
	}
	if err := printWhatToTry(os.Stdout, bin, etcd.URL(), etcd.Endpoints()[0], listed, front, all.pid(0)); err != nil {
		return err
	}
	<-signals
	return nil
}

// await returns the addresses of each service once all its instances are ready, and
// the edge is, or nothing where a signal comes first.
func await(url string, front *edge, signals <-chan os.Signal) (map[string][]string, error) {
	reg, err := registry.Open(url, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer reg.Close()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	var interrupted atomic.Bool
	go func() {
		select {
		case <-signals:
			interrupted.Store(true)
			cancel()
		case <-ctx.Done():
		}
	}()
	listed := map[string][]string{}
	for service, n := range map[string]int{echoService: echoes, greeterService: 1, pageService: 1, linesService: 1} {
		if listed[service] = ready(ctx, reg, service, n); len(listed[service]) < n {
			if interrupted.Load() {
				return nil, nil
			}
			return nil, fmt.Errorf("%d of %d instances of %s are listed after %v", len(listed[service]), n, service, startTimeout)
		}
	}
	if err := front.await(ctx); err != nil && !interrupted.Load() {
		return nil, err
	}
	if interrupted.Load() {
		return nil, nil
	}
	return listed, nil
}

// ready returns the addresses of n instances that are ready, fewer where the
// context ends first.
func ready(ctx context.Context, reg registry.Registry, service string, n int) (addrs []string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	reg.Watch(ctx, service, func(list []registry.Instance, err error) {
		if err != nil || len(addrs) == n {
			return
		}
		addrs = nil
		for _, i := range list {
			if i.Health == registry.Ready {
				addrs = append(addrs, i.Addr)
			}
		}
		if len(addrs) == n {
			cancel()
		}
	})
	return addrs
}
