package main

import (
	"fmt"
	"html"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// kernelTells says whether it is known which user owns a connection.
const kernelTells = runtime.GOOS == "linux"

// browse starts the browser of the desktop, if there is one. The function that it
// returns clears up. No command line has a secret, as others may see those of all
// programs.
//
// On Linux many browsers are confined and do not find a file, so they are led by
// the door itself, which knows there whose they are.
func browse(d *door, warn io.Writer) (end func()) {
	end = func() {}
	if kernelTells {
		if os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != "" {
			start(warn, "xdg-open", d.leading())
		}
		return end
	}
	dir, err := os.MkdirTemp("", "easyops-open-")
	if err != nil {
		return end
	}
	end = func() { _ = os.RemoveAll(dir) }
	page, err := leadsTo(dir, d.url())
	switch {
	case err != nil:
	case runtime.GOOS == "windows":
		start(warn, "rundll32", "url.dll,FileProtocolHandler", page)
	default:
		start(warn, "open", page)
	}
	return end
}

// leadsTo writes a page that leads to a URL, and that nobody else can read.
func leadsTo(dir, url string) (path string, err error) {
	path = filepath.Join(dir, "open.html")
	text := "<!doctype html>\n<meta charset=\"utf-8\">\n<meta name=\"referrer\" content=\"no-referrer\">\n" +
		"<meta http-equiv=\"refresh\" content=\"0; url=" + html.EscapeString(url) + "\">\n<title>easyops open</title>\n"
	return path, os.WriteFile(path, []byte(text), 0o600)
}

func start(warn io.Writer, name string, args ...string) {
	command := exec.Command(name, args...) // it may live on
	if err := command.Start(); err != nil {
		fmt.Fprintf(warn, "easyops: no browser was started: %v\n", err)
		return
	}
	go func() { _ = command.Wait() }()
}
