// Command screenshots is `make screenshots`: it runs the example's cluster with
// identities, has users and services call it for a while, and takes pictures of
// its pages for the documentation.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	bin := flag.String("bin", ".bin", "the `directory` with the programs of the example")
	out := flag.String("out", "docs/images", "the `directory` for the pictures")
	load := flag.Duration("load", 5*time.Minute+10*time.Second, "how long to call before the pictures are taken")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *bin, *out, *load); err != nil {
		fmt.Fprintln(os.Stderr, "screenshots:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bin, out string, load time.Duration) (err error) {
	dir := filepath.Join(os.TempDir(), "easyops-example") // it is on the pictures
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("%w: if no other such command runs, remove it", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	c, err := startCluster(ctx, dir, bin)
	if err != nil {
		return err
	}
	defer c.stop()
	fmt.Printf("Calling the cluster for %v.\n", load)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	calling := make(chan error, 1)
	go func() { calling <- c.live(ctx) }()
	select {
	case <-time.After(load):
	case <-ctx.Done():
	}
	if err == nil && ctx.Err() == nil {
		err = c.picture(ctx, out) // while they call
	}
	cancel()
	return errors.Join(err, <-calling)
}
