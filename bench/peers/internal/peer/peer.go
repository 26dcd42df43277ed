// Package peer is what the programs of all peers have in common: their flags,
// and what they say of themselves.
package peer

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"slices"

	"github.com/go-easyops/easyops/bench/serving"
)

// Main is a program that serves on a listener. With -describe it writes its
// description, to which it adds the versions that are linked, and ends.
func Main(d serving.Description, serve func(net.Listener, serving.Told) error) {
	end(run(d, os.Args[1:], func(f *serving.Flags) error { return f.Serve(serve) }))
}

// MainAt is Main for what opens its listener itself.
func MainAt(d serving.Description, serve func(addr string, told serving.Told) error) {
	end(run(d, os.Args[1:], func(f *serving.Flags) error { return f.ServeAt(serve) }))
}

func end(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(d serving.Description, args []string, serve func(*serving.Flags) error) error {
	fs := flag.NewFlagSet(d.Name, flag.ExitOnError)
	flags := serving.AddFlags(fs)
	describe := fs.Bool("describe", false, "say what is served and how, as JSON, and end")
	_ = fs.Parse(args) // it exits
	if *describe {
		return json.NewEncoder(os.Stdout).Encode(withVersions(d))
	}
	if err := supports(d, flags.Told()); err != nil {
		return err
	}
	os.Args = os.Args[:1] // some look for flags of their own
	return serve(flags)
}

// supports tells what a peer cannot do of what it is told: what it would ignore
// would be measured as if it were on.
func supports(d serving.Description, t serving.Told) error {
	for _, c := range []struct {
		told         bool
		flag, needed string
	}{
		{t.Cert != "", "-cert", serving.TLS},
		{t.Auth != "", "-auth", serving.Token},
		{t.CA != "", "-ca", serving.Mutual},
	} {
		if c.told && !slices.Contains(d.Security, c.needed) {
			return fmt.Errorf("%s: it cannot be called by %s, leave out %s", d.Name, c.needed, c.flag)
		}
	}
	if t.Quiet && !d.Quiet {
		return fmt.Errorf("%s: it has no access log that it could leave out, leave out -quiet", d.Name)
	}
	return nil
}

func withVersions(d serving.Description) serving.Description {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return d
	}
	for _, m := range info.Deps {
		switch m.Path {
		case d.Module:
			d.Version = m.Version
		case "google.golang.org/grpc":
			d.GRPC = m.Version
		}
	}
	return d
}
