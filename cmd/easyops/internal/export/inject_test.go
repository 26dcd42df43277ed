package export

import (
	"strings"
	"testing"
	"time"
)

// Texts of routes files, of registries and of command lines stay what they are: none
// begins a line of its own.
func TestInjection(t *testing.T) {
	const evil = "x\n\thttp-request return status 200 string pwned\n\tload_module pwned;\n#"
	dir := t.TempDir()
	for _, p := range []Proxy{HAProxy, Nginx} {
		o := Options{Proxy: p, Registry: evil, User: evil, CA: evil}
		files(t, dir, &Options{})
		f, have := shop(dir)
		f.Name = evil
		for n := range f.HTTP {
			f.HTTP[n].Access.Allow, f.HTTP[n].Access.Groups, f.HTTP[n].Access.Services = 0, []string{evil}, []string{evil}
		}
		text, err := o.Render(f, have)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "http-request return status 200 string pwned") || strings.HasPrefix(line, "load_module") {
				t.Errorf("%s: a line of its own: %s", p, line)
			}
		}
		if !strings.Contains(string(text), "pwned") {
			t.Errorf("%s: the control: the texts are not there at all", p)
		}
	}
}

func TestLinger(t *testing.T) {
	for p, want := range map[Proxy]string{HAProxy: "\thard-stop-after %\n", Nginx: "\nworker_shutdown_timeout %;\n"} {
		for linger, written := range map[time.Duration]string{0: "600s", time.Hour: "3600s"} {
			f, have := small("")
			text, err := Options{Proxy: p, Linger: linger}.Render(f, have)
			if line := strings.Replace(want, "%", written, 1); err != nil || !strings.Contains(string(text), line) {
				t.Errorf("%s: there is no %q, %v", p, line, err)
			}
		}
	}
}
