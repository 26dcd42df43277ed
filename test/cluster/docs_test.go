package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/go-easyops/easyops/runtime/status"
	"github.com/go-easyops/easyops/test/etcdserver"
	"github.com/go-easyops/easyops/test/serve"
)

// commands returns those of a page between two marks, a line each.
func commands(t *testing.T, page, from, to string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../docs", page))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begins := strings.Cut(string(text), "<!-- "+from)
	part, _, ends := strings.Cut(rest, "<!-- "+to+" -->")
	blocks := strings.Split(part, "```sh\n")[1:]
	if !begins || !ends || len(blocks) == 0 {
		t.Fatalf("%s has no commands between %s and %s", page, from, to)
	}
	for _, block := range blocks {
		block, _, closes := strings.Cut(block, "```")
		if !closes {
			t.Fatalf("%s has a block without an end", page)
		}
		for line := range strings.Lines(block) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// page is one of docs, as one line.
func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(text)), " ")
}

// TestFlagsOnPages: there is each flag and each variable that the pages name.
func TestFlagsOnPages(t *testing.T) {
	help, _ := exec.CommandContext(t.Context(), serve.Build(t, serve.EchoServer), "-help").CombinedOutput()
	for _, name := range []string{"registry.md", "clients.md"} {
		flags := regexp.MustCompile(`-easyops\.[a-z-]+`).FindAllString(page(t, name), -1)
		for _, variable := range regexp.MustCompile(`EASYOPS_[A-Z_]+`).FindAllString(page(t, name), -1) {
			flags = append(flags, "-easyops."+strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(variable, "EASYOPS_"), "_", "-")))
		}
		if len(flags) == 0 {
			t.Errorf("%s names no flag", name)
		}
		for _, flag := range flags {
			if !bytes.Contains(help, []byte("  "+flag+" ")) && !bytes.Contains(help, []byte("  "+flag+"\n")) {
				t.Errorf("%s names %s, which there is not", name, flag)
			}
		}
	}
}

// troubles are texts of the page about trouble, each with what brings it about:
// a registry, and an entry that is put there by hand.
var troubles = []struct{ text, url string }{
	{"the password would leave the machine in plain text", "etcd://echo@10.0.0.1?password-file=PASSWORD"},
	{"name user and password-file in the registry's URL", "etcd://ENDPOINT"},
	{"registration fails, trying again", "etcd://127.0.0.1:1"},
}

// wantTroubles starts servers that say what the page says that they do.
func wantTroubles(t *testing.T, endpoint, password string) {
	t.Helper()
	text := page(t, "registry.md")
	if none := "nothing in this program speaks etcd"; !strings.Contains(text, none) {
		t.Errorf("the page does not say %q", none) // a test of package registry has the rest
	}
	for _, trouble := range troubles {
		if !strings.Contains(text, trouble.text) {
			t.Errorf("the page does not say %q", trouble.text)
		}
		url := strings.NewReplacer("ENDPOINT", endpoint, "PASSWORD", password).Replace(trouble.url)
		s := serve.Launch(t, serve.FreeAddr(t), "-easyops.registry="+url)
		eventually(t, patience, trouble.text, func() bool { return strings.Contains(s.Log(), trouble.text) })
	}
}

// shell runs commands as on a page: the tools are on the PATH.
type shell struct {
	dir string
	env []string
}

func newShell(t *testing.T, env ...string) *shell {
	t.Helper()
	bin := t.TempDir()
	for name, pkg := range map[string]string{"easyops": serve.Easyops, "etcdctl": serve.Etcdctl, "grpcurl": serve.Grpcurl} {
		if err := os.Symlink(serve.Build(t, pkg), filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	return &shell{t.TempDir(), append(append(serve.Environment(), "PATH="+bin+":"+os.Getenv("PATH")), env...)}
}

func (s *shell) command(ctx context.Context, line string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-ec", line)
	cmd.Dir, cmd.Env = s.dir, s.env
	return cmd
}

// run runs a command and returns what it prints.
func (s *shell) run(t *testing.T, line string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := s.command(ctx, line).CombinedOutput()
	return string(out), err
}

func (s *shell) mustRun(t *testing.T, line string) string {
	t.Helper()
	out, err := s.run(t, line)
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return out
}

// TestRoles runs the commands that let a service write its own names, and tries
// to write others.
func TestRoles(t *testing.T) {
	t.Parallel()
	server, err := etcdserver.Start(t.TempDir(), 1, func(c *embed.Config) { c.BcryptCost = 4 })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	sh := newShell(t, "ETCDCTL_ENDPOINTS="+server.Endpoints()[0], "ROOT_PASSWORD=secret-of-root", "ECHO_PASSWORD=secret-of-echo")
	for _, line := range commands(t, "registry.md", "roles", "end of roles") {
		sh.mustRun(t, line)
	}
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("secret-of-echo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := "etcd://echo@" + server.Endpoints()[0] + "?password-file=" + password
	s := serve.Start(t, "-easyops.registry="+url)
	list := "easyops ls --registry '" + url + "' " + service
	eventually(t, patience, "echo in the list", func() bool {
		out, _ := sh.run(t, list)
		return strings.Contains(out, s.Addr)
	})
	as := "etcdctl --user echo:secret-of-echo "
	if out := sh.mustRun(t, as+"get --prefix easyops/"); !strings.Contains(out, "easyops/"+service+"/") || !strings.Contains(out, `"Addr":"`+s.Addr+`"`) {
		t.Errorf("etcdctl lists\n%s", out)
	}
	for _, key := range []string{"easyops/bank.v1.BankService/x", "easyops/" + service, "easyops/" + service + "OfOthers/x", "other/" + service + "/x"} {
		if out, err := sh.run(t, as+"put "+key+" x"); err == nil || !strings.Contains(out, "permission denied") {
			t.Errorf("echo may write %s: %v\n%s", key, err, out)
		}
	}
	if out, err := sh.run(t, "etcdctl get --prefix easyops/"); err == nil {
		t.Errorf("nobody may read\n%s", out)
	}

	wantTroubles(t, server.Endpoints()[0], password)
	greeter := serve.StartProgram(t, serve.Greeter, "-easyops.registry="+url)
	eventually(t, patience, "reason in the log of greeter", func() bool {
		return strings.Contains(greeter.Log(), `a role of user \"echo\" must allow it`)
	})
}

// TestPersonalCommands does what a developer does who tries a change.
func TestPersonalCommands(t *testing.T) {
	t.Parallel()
	c, a := startEtcd(t, 1), newAuthority(t)
	auth := strings.TrimPrefix(a.flags(certificate{})[3], "-easyops.auth=")
	c.startEchoes(t, 1, a.flags(a.issue(t, "echo", service))...)
	edge := a.issue(t, "greeter", greeterService)
	front := serve.StartProgram(t, serve.Greeter, append(a.flags(edge), c.flag(), "-easyops.personal", "-easyops.operators=user:alice")...)
	sh := newShell(t, "CA="+a.ca(), "KEYS="+a.keys(), "FRONT="+front.Addr, "EASYOPS_REGISTRY="+c.URL(), "EASYOPS_AUTH="+auth)
	lines := commands(t, "clients.md", "personal", "end of personal")
	if len(lines) != 5 {
		t.Fatalf("the page has %d commands, want 5:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	var out string
	var end func()
	for _, line := range lines {
		if strings.HasPrefix(line, "go run") { // until Ctrl-C
			end = sh.start(t, line)
			continue
		}
		out = sh.mustRun(t, line)
		if strings.HasPrefix(line, "easyops ls") && !strings.Contains(out, " alice ") {
			t.Errorf("alice owns none of\n%s", out)
		}
	}
	const changedGreeting = `"greeting": "changed: Hello, alice"`
	if !strings.Contains(out, changedGreeting) {
		t.Errorf("alice hears\n%s", out)
	}
	wantOwnersCall(t, connectionsPage(t, a, front.Addr, strings.TrimSpace(sh.mustRun(t, "cat alice.token"))))
	bob := strings.Replace(lines[3], "alice", "bob", 2) + "\n" + strings.ReplaceAll(lines[4], "alice", "bob")
	if out := sh.mustRun(t, bob); !strings.Contains(out, `"greeting": "Hello, bob"`) {
		t.Errorf("bob hears\n%s", out)
	}
	end()
	if list := c.ready(t); len(list) != 1 {
		t.Errorf("listed after Ctrl-C are %v", list)
	}
	if out := sh.mustRun(t, lines[4]); strings.Contains(out, changedGreeting) {
		t.Errorf("alice hears after Ctrl-C\n%s", out)
	}
}

// wantOwnersCall finds on the greeter's page that alice's instance has answered
// once, and the others not at all.
func wantOwnersCall(t *testing.T, page status.ConnectionsData) {
	t.Helper()
	calls := map[string]uint64{}
	for _, out := range page.Outbound {
		for _, i := range out.Instances {
			calls[i.Class] += i.Calls
		}
	}
	if calls["owner alice"] != 1 || calls["plain"] != 0 {
		t.Errorf("calls are %v of\n%+v", calls, page)
	}
}

// connectionsPage asks a server for its page, with the token of an operator.
func connectionsPage(t *testing.T, a authority, addr, token string) (page status.ConnectionsData) {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(a.ca(), "ca.pem"))
	roots := x509.NewCertPool()
	if err != nil || !roots.AppendCertsFromPEM(pem) {
		t.Fatalf("authority: %v", err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}}
	defer transport.CloseIdleConnections()
	ask, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr+"/internal/service-info/grpc-connections", nil)
	if err != nil {
		t.Fatal(err)
	}
	ask.Header.Set("Authorization", "Bearer "+token)
	ask.Header.Set("Accept", "application/json")
	resp, err := transport.RoundTrip(ask)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	return page
}

// start runs a developer's program, in the directory of its main, until end or
// the end of the test, and waits until it says that it is registered.
func (s *shell) start(t *testing.T, line string) (end func()) {
	t.Helper()
	var log output
	cmd := s.command(context.Background(), line)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "changed", &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) // Ctrl-C
		_ = cmd.Wait()
	})
	t.Cleanup(func() {
		end()
		if t.Failed() {
			fmt.Fprintf(t.Output(), "her instance:\n%s", log.String())
		}
	})
	eventually(t, time.Minute, "registered in the log", func() bool { return strings.Contains(log.String(), " registered ") })
	return end
}

// output is what a program that runs has printed so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements [io.Writer].
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
