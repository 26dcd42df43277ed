package status

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// clientEnv makes the test binary a client that sends one request and prints
// the answer.
const clientEnv = "STATUS_TEST_CLIENT"

// otherUser is a user ID that is not ours.
const otherUser = 65534

func TestClientOfAnotherUser(t *testing.T) {
	addr, closeFirst := strings.CutSuffix(os.Getenv(clientEnv), "!")
	if addr == "" {
		t.Skip("it is the client of other tests")
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(addr)
	fmt.Fprintf(c, "POST /internal/pleaseshutdown HTTP/1.1\r\nHost: localhost:%s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", port)
	if closeFirst {
		c.Close()
		return
	}
	b, _ := io.ReadAll(c)
	fmt.Printf("ANSWER %s\n", b)
}

// localServer is a server with LocalOperator that listens on addr.
func localServer(t *testing.T, network, addr string) (*fixture, chan struct{}) {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Skipf("%s %s: %v", network, addr, err)
	}
	release := make(chan struct{})
	f := newFixture(t, func(c *Config) {
		operator := LocalOperator()
		c.Operator = func(r *http.Request) (string, error) {
			<-release
			return operator(r)
		}
	})
	s := httptest.NewUnstartedServer(f.pages.Handler())
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	f.Server = s
	return f, release
}

func TestOwnSocketIsOperator(t *testing.T) {
	for _, c := range []struct{ network, listen, dial string }{
		{"tcp4", "127.0.0.1:0", "127.0.0.1"},
		{"tcp6", "[::1]:0", "::1"},
		{"tcp", ":0", "127.0.0.1"},        // an IPv4 client of an IPv6 socket
		{"tcp", ":0", "::ffff:127.0.0.1"}, // the other way round
		{"tcp4", "127.0.0.1:0", "::ffff:127.0.0.1"},
		{"tcp", ":0", "::1"},
	} {
		f, release := localServer(t, c.network, c.listen)
		close(release)
		port := f.Listener.Addr().(*net.TCPAddr).Port
		f.URL = fmt.Sprintf("http://%s", net.JoinHostPort(c.dial, fmt.Sprint(port)))
		f.ask("POST", "/internal/pleaseshutdown", "Host", "localhost").want(t, 202)
		if got := f.stopped(); len(got) != 1 || got[0] != fmt.Sprintf("local user %d", os.Geteuid()) {
			t.Errorf("%v: shutdowns by %v", c, got)
		}
		f.ask("GET", "/internal/help", "Host", "evil.example").want(t, 403)
	}
}

// runAsOther runs this test binary as a client under another user ID.
func runAsOther(t *testing.T, addr string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can run a client as another user")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestClientOfAnotherUser$", "-test.v")
	cmd.Env = append(os.Environ(), clientEnv+"="+addr)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: otherUser, Gid: otherUser}}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, os.ErrPermission) {
		t.Skip("another user cannot run the test binary")
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func TestSocketOfAnotherUserIsNoOperator(t *testing.T) {
	f, release := localServer(t, "tcp4", "127.0.0.1:0")
	close(release)
	out := runAsOther(t, f.Listener.Addr().String())
	if !strings.Contains(out, "403 Forbidden") || !strings.Contains(out, fmt.Sprintf("user %d", otherUser)) {
		t.Errorf("the other user's client got:\n%s", out)
	}
	if len(f.stopped()) > 0 {
		t.Error("another user stopped the server")
	}
}

// A socket that its owner has closed is listed as root's, whoever had it: a
// client that sends and hangs up must not pass as root.
func TestClosedSocketOfAnotherUserIsNoOperator(t *testing.T) {
	f, release := localServer(t, "tcp4", "127.0.0.1:0")
	runAsOther(t, f.Listener.Addr().String()+"!")
	close(release) // the client is gone now
	waitFor(t, func() bool { return len(f.log.audits(t)) > 0 })
	lines := f.log.audits(t)
	if len(lines) != 1 || lines[0]["outcome"] != "refused" {
		t.Errorf("audit: %v", lines)
	}
	if len(f.stopped()) > 0 {
		t.Error("another user stopped the server")
	}
}

func TestFindOwner(t *testing.T) {
	const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	const line = "   7: 0100007F:9C40 0100007F:1004 %s 00000000:00000000 00:00000000 00000000  %d        0 %d 1 0 20 4 0 10 -1\n"
	peer, server := netip.MustParseAddrPort("127.0.0.1:40000"), netip.MustParseAddrPort("127.0.0.1:4100")
	for _, c := range []struct {
		name, table string
		uid         int
		found       bool
	}{
		{"open", head + fmt.Sprintf(line, "01", 1000, 4711), 1000, true},
		{"half closed", head + fmt.Sprintf(line, "05", 1000, 4711), 1000, true},
		{"closed by its owner", head + fmt.Sprintf(line, "05", 0, 0), 0, false},
		{"closed, then open again", head + fmt.Sprintf(line, "06", 0, 0) + fmt.Sprintf(line, "01", 1000, 4711), 1000, true},
		{"the server's end", head + "   8: 0100007F:1004 0100007F:9C40 01 00000000:00000000 00:00000000 00000000  0        0 4712 1\n", 0, false},
		{"cut short", head + "   8: 0100007F:9C40 0100007F:1004 01\n", 0, false},
		{"empty", "", 0, false},
	} {
		file := filepath.Join(t.TempDir(), "tcp")
		if err := os.WriteFile(file, []byte(c.table), 0o600); err != nil {
			t.Fatal(err)
		}
		uid, err := findOwner(file, peer, server)
		if uid != c.uid || (err == nil) != c.found {
			t.Errorf("%s: user %d, %v", c.name, uid, err)
		}
	}
}

func TestKernelAddr(t *testing.T) {
	for in, want := range map[string]string{
		"0100007F:1F90":                         "127.0.0.1:8080",
		"00000000000000000000000001000000:0050": "[::1]:80",
		"0000000000000000FFFF00000100007F:0050": "127.0.0.1:80",
		"B80D01200000000000000000010000EF:FFFF": "[2001:db8::ef00:1]:65535",
	} {
		if got := kernelAddr(in); got != netip.MustParseAddrPort(want) {
			t.Errorf("kernelAddr(%s) = %s, want %s", in, got, want)
		}
	}
	for _, in := range []string{"", ":", "zz:1", "01:1", "0100007F", "0100007F:12345", "local_address"} {
		if got := kernelAddr(in); got.IsValid() {
			t.Errorf("kernelAddr(%q) = %s", in, got)
		}
	}
}

func FuzzKernelAddr(f *testing.F) {
	f.Add("0100007F:1F90")
	f.Fuzz(func(_ *testing.T, s string) { kernelAddr(s) })
}
