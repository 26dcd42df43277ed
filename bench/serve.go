package main

import (
	"flag"
	"fmt"

	"github.com/go-easyops/easyops/bench/serving"
)

// usage is what a server has needed since it was started.
type usage = serving.Usage

// serve serves one variant.
func serve(args []string) error {
	fs := flag.NewFlagSet("serve", flag.ExitOnError)
	name := fs.String("variant", bare, "what to serve")
	flags := serving.AddFlags(fs)
	_ = fs.Parse(args) // it exits
	v, ok := variants[*name]
	if !ok {
		return fmt.Errorf("there is no variant %q", *name)
	}
	return flags.Serve(v)
}
