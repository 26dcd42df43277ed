package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	ourPlugin = "protoc-gen-easyops"
	grpcsOwn  = "protoc-gen-go-grpc"
)

// effort is what a plugin needed, a value for each run.
type effort struct {
	Wall, CPU, Peak []float64 // seconds, seconds, MiB
}

// measurePlugin gives both plugins the same large request, in turns.
func measurePlugin(s settings, r *report) error {
	progress("plugin: builds the plugins, makes a request")
	if err := build(s.dir, "github.com/go-easyops/easyops/cmd/"+ourPlugin, "google.golang.org/grpc/cmd/"+grpcsOwn); err != nil {
		return err
	}
	// Another process makes it, since Linux counts the memory of the parent
	// with that of a child until the child has a program of its own.
	request := filepath.Join(s.dir, "request.pb")
	if err := subcommand("request", request); err != nil {
		return err
	}
	names := []string{ourPlugin, grpcsOwn}
	response := filepath.Join(s.dir, "response.pb")
	progress("plugin: %d runs of each", s.pairs)
	r.Plugin = map[string]*effort{}
	for round := range s.pairs {
		for _, name := range orderOf(names, round) {
			if r.Plugin[name] == nil {
				r.Plugin[name] = &effort{}
			}
			if err := r.Plugin[name].run(filepath.Join(s.dir, name), request, response); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if round > 0 {
				continue
			}
			if err := subcommand("response", response); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// run runs a plugin once. Its output goes into a file.
func (e *effort) run(program, request, response string) error {
	in, err := os.Open(request)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(response)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(program)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, os.Stderr
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		return err
	}
	e.Wall = append(e.Wall, time.Since(begin).Seconds())
	r := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	e.CPU = append(e.CPU, cpuOf(r).Seconds())
	e.Peak = append(e.Peak, mebi(peakOf(r)))
	return nil
}

// subcommand runs this program anew.
func subcommand(args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, args...)
	cmd.Stderr = os.Stderr
	return cmd.Run()
}
