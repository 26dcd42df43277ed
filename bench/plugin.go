package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/go-easyops/easyops/bench/chart"
	"github.com/go-easyops/easyops/bench/serving"
)

const (
	ourPlugin = "protoc-gen-easyops"
	grpcsOwn  = "protoc-gen-go-grpc"
	connects  = "protoc-gen-connect-go"
	noop      = "noop" // what protogen does for all of them
)

type plugin struct {
	name, pkg string
	in        string // the directory of the module that needs it
	makes     int    // files
}

// plugins are compared. Each makes a file for each service, but the one that
// makes nothing.
var plugins = []plugin{
	{ourPlugin, "github.com/go-easyops/easyops/cmd/" + ourPlugin, ".", packages},
	{grpcsOwn, "google.golang.org/grpc/cmd/" + grpcsOwn, ".", packages},
	{connects, "connectrpc.com/connect/cmd/" + connects, peersDir, packages},
	{noop, "./noop", ".", 0},
}

// effort is what a plugin needed, a value for each run.
type effort struct {
	Wall, CPU, Peak []float64 // seconds, seconds, MiB
}

// buildPlugins returns those that could be built. One of peers need not be.
func buildPlugins(s settings, r *report) (list []plugin, err error) {
	for _, p := range plugins {
		err := buildIn(p.in, s.dir, p.pkg)
		switch {
		case err == nil:
			list = append(list, p)
		case p.in == peersDir:
			progress("plugin: without %s: %v", p.name, err)
			r.Faults = append(r.Faults, fault{p.name, cellText(err.Error())})
		default:
			return nil, err
		}
	}
	return list, nil
}

// measurePlugin gives all plugins the same large request, in turns.
func measurePlugin(s settings, r *report) error {
	progress("plugin: builds the plugins, makes a request")
	list, err := buildPlugins(s, r)
	if err != nil {
		return err
	}
	// Another process makes it, since Linux counts the memory of the parent
	// with that of a child until the child has a program of its own.
	request, response := filepath.Join(s.dir, "request.pb"), filepath.Join(s.dir, "response.pb")
	if err := subcommand("request", request); err != nil {
		return err
	}
	progress("plugin: %d runs of each", s.pairs)
	r.Plugin = map[string]*effort{}
	for round := range s.pairs {
		for _, p := range orderOf(list, round) {
			if r.Plugin[p.name] == nil {
				r.Plugin[p.name] = &effort{}
			}
			if err := r.Plugin[p.name].run(filepath.Join(s.dir, p.name), request, response); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			if round > 0 {
				continue
			}
			if err := subcommand("response", response, strconv.Itoa(p.makes)); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
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
	u := serving.UsageOf(cmd.ProcessState.SysUsage().(*syscall.Rusage))
	e.CPU = append(e.CPU, u.CPU.Seconds())
	e.Peak = append(e.Peak, mebi(u.RSS))
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

func (r *report) pluginTable() *table {
	t := &table{
		title:   fmt.Sprintf("Plugins, on a request of %d services in %d files; %s makes nothing by protogen", packages, files, noop),
		columns: []string{"plugin", "wall s", "CPU s", "peak MiB", "wall against " + grpcsOwn, "peak against " + grpcsOwn, "wall against " + noop, "runs"},
	}
	for _, p := range plugins {
		e, by, least := r.Plugin[p.name], r.Plugin[grpcsOwn], r.Plugin[noop]
		if e == nil || by == nil || least == nil {
			continue
		}
		t.add(p.name, spreadOf(e.Wall), spreadOf(e.CPU), spreadOf(e.Peak),
			ratios(e.Wall, by.Wall), ratios(e.Peak, by.Peak), ratios(e.Wall, least.Wall), len(e.Wall))
	}
	return t
}

func (r *report) pluginGoals() []goal {
	e, by := r.Plugin[ourPlugin], r.Plugin[grpcsOwn]
	if e == nil || by == nil {
		return nil
	}
	return []goal{
		{What: "plugin's wall time against " + grpcsOwn, Figure: ratios(e.Wall, by.Wall), AtMost: 0.8},
		{What: "plugin's peak memory against " + grpcsOwn, Figure: ratios(e.Peak, by.Peak), AtMost: 1},
	}
}

// pluginRatios are those of plugins.
func (r *report) pluginRatios() map[string]spread {
	e, by := r.Plugin[ourPlugin], r.Plugin[grpcsOwn]
	if e == nil || by == nil {
		return nil
	}
	name := "/" + ourPlugin + ":" + grpcsOwn
	return map[string]spread{"plugin/wall" + name: ratios(e.Wall, by.Wall), "plugin/peak" + name: ratios(e.Peak, by.Peak)}
}

func (r *report) pluginChart() map[string]chart.Bars {
	b := chart.Bars{Title: "Plugins of protoc", Axis: "times " + grpcsOwn + ", median and quartiles; less is better", Reference: 1}
	by := r.Plugin[grpcsOwn]
	if by == nil {
		return nil
	}
	for _, what := range []struct {
		name string
		of   func(*effort) []float64
	}{
		{"wall time", func(e *effort) []float64 { return e.Wall }},
		{"CPU", func(e *effort) []float64 { return e.CPU }},
		{"peak memory", func(e *effort) []float64 { return e.Peak }},
	} {
		g := chart.Group{Name: what.name}
		for _, name := range oursFirst(slices.Sorted(maps.Keys(r.Plugin)), ourPlugin) {
			if e := r.Plugin[name]; e != nil && name != grpcsOwn {
				g.Bars = append(g.Bars, barOf(name, ratios(what.of(e), what.of(by)))...)
			}
		}
		b.Groups = append(b.Groups, g)
	}
	return map[string]chart.Bars{"plugin": b}
}
