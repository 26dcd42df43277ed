package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	mostRows = 15 // of samples
	mostLogs = 8
	tailEach = 15 // lines of a log
)

// details are what it takes to see why something is wrong where files are gone soon:
// samples, and the ends of logs.
func (r *result) details() string {
	if len(r.Wrong) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\n| seconds | process | RSS, MiB | goroutines | file descriptors | calls | failures |\n|---|---|---|---|---|---|---|\n")
	every := (len(r.Samples) + mostRows - 1) / mostRows
	for i, s := range r.Samples {
		if i%every != 0 && i != len(r.Samples)-1 {
			continue
		}
		for _, p := range processes {
			of := p.of(s)
			fmt.Fprintf(&b, "| %.0f | %s | %.1f | %.0f | %.0f | %d | %d |\n", s.Seconds, p.name, of.RSS, of.Goroutines, of.Descriptors, s.Calls, s.Failures)
		}
	}
	for _, log := range r.tellingLogs() {
		fmt.Fprintf(&b, "\n%s ends with\n%s", filepath.Base(log.name), tail(log.text, tailEach))
	}
	return b.String()
}

type logText struct{ name, text string }

// tellingLogs are those of processes that are named, and that log errors, and then
// those of processes that live long.
func (r *result) tellingLogs() []logText {
	var telling, others []logText
	files, _ := filepath.Glob(filepath.Join(r.Logs, "*.log")) // the pattern is good
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		log, name := logText{file, string(text)}, strings.TrimSuffix(filepath.Base(file), ".log")
		switch {
		case strings.Contains(log.text, errorLevel) || slices.ContainsFunc(r.Wrong, func(w string) bool { return names(w, name) }):
			telling = append(telling, log)
		case name == "client" || name == "server-0":
			others = append(others, log)
		}
	}
	return slices.Concat(telling[:min(len(telling), mostLogs)], others)
}

// names tells whether a text names a process.
func names(text, process string) bool {
	return slices.ContainsFunc(strings.Fields(text), func(word string) bool { return strings.Trim(word, ":,") == process })
}

func tail(text string, lines int) string {
	all := slices.Collect(strings.Lines(text))
	var b strings.Builder
	for _, line := range all[max(0, len(all)-lines):] {
		line = strings.TrimSuffix(line, "\n")
		b.WriteString("  " + line[:min(len(line), 400)] + "\n")
	}
	return b.String()
}

// keepLogs removes all else from the directory of a run: keys, and the registry.
func keepLogs(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if filepath.Ext(f.Name()) == ".log" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, f.Name())); err != nil {
			return err
		}
	}
	return nil
}
