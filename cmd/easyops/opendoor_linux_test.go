package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// intruderEnv makes the test binary a client that sends one request.
const intruderEnv = "EASYOPS_TEST_INTRUDER"

// otherUser is a user ID that is not ours.
const otherUser = 65534

func TestIntruder(t *testing.T) {
	addr, request, _ := strings.Cut(os.Getenv(intruderEnv), " ")
	if addr == "" {
		t.Skip("it is the client of another test")
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, request)
	b, _ := io.ReadAll(c)
	fmt.Printf("ANSWER %s\n", b)
}

// asUser sends a request as a user of the system.
func asUser(t *testing.T, uid uint32, addr, request string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can run a client as another user")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestIntruder$", "-test.v")
	cmd.Env = append(os.Environ(), intruderEnv+"="+addr+" "+request)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, os.ErrPermission) {
		t.Skip("another user cannot run the test binary")
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// Another user of the machine gets nowhere with the token, nor with the cookie,
// and does not use the token up.
func TestOpenToAnotherUser(t *testing.T) {
	f := newFleet(t)
	o := openPages(t, f.add().Addr)
	const close = "Connection: close\r\n\r\n"
	enter := "GET " + strings.TrimPrefix(o.url, o.own()) + " HTTP/1.1\r\nHost: " + o.host + "\r\n" + close
	if out := asUser(t, otherUser, o.addr, enter); !strings.Contains(out, "403 Forbidden") || strings.Contains(out, "Set-Cookie") {
		t.Errorf("with the token:\n%s", out)
	}
	o.enter()
	cookie := o.jar.Cookies(&url.URL{Scheme: "http", Host: o.host, Path: "/"})[0]
	page := "GET /internal/health HTTP/1.1\r\nHost: " + o.host + "\r\nCookie: " + sessionCookie + "=" + cookie.Value + "\r\n" + close
	if out := asUser(t, otherUser, o.addr, page); !strings.Contains(out, "403 Forbidden") || !strings.Contains(out, fmt.Sprintf("user %d", otherUser)) {
		t.Errorf("with the cookie:\n%s", out)
	}
	if out := asUser(t, 0, o.addr, page); !strings.Contains(out, "200 OK") { // the control
		t.Errorf("its own user:\n%s", out)
	}
}
