package serving

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-easyops/easyops/bench/issuer"
)

// served is set in processes that are to be servers, and says of which kind.
const served = "BENCH_SERVING_TEST"

func TestMain(m *testing.M) {
	what := os.Getenv(served)
	if what == "" {
		os.Exit(m.Run())
	}
	if err := runServer(what, os.Args[1:]); err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
}

// runServer runs a server that greets whoever connects.
func runServer(what string, args []string) error {
	switch what {
	case "wrong":
		return Run(args, func(net.Listener, Told) error { return errors.New("cannot serve") })
	case "brief":
		return Run(args, func(net.Listener, Told) error { return nil })
	case "at":
		fs := flag.NewFlagSet("at", flag.ExitOnError)
		f := AddFlags(fs)
		_ = fs.Parse(args)
		return f.ServeAt(func(addr string, t Told) error {
			time.Sleep(10 * time.Millisecond) // others do much in that time
			lis, err := net.Listen("tcp", addr)
			if err != nil {
				return err
			}
			return greet(lis, t)
		})
	}
	return Run(args, greet)
}

func greet(lis net.Listener, t Told) error {
	fmt.Println("a log line that is no answer")
	if t.Mutual != nil {
		lis = tls.NewListener(lis, t.Mutual)
	}
	for {
		conn, err := lis.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			_, _ = io.WriteString(conn, "hello "+t.Auth+"\n") // some hang up at once
		}()
	}
}

func start(t *testing.T, what string, args ...string) (*exec.Cmd, io.WriteCloser, *json.Decoder) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), served+"="+what)
	cmd.Stderr = &strings.Builder{}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, in, json.NewDecoder(out)
}

// A server says where it is when it is there, and ends with its input.
func TestServe(t *testing.T) {
	for _, what := range []string{"listener", "at"} {
		t.Run(what, func(t *testing.T) {
			profile := filepath.Join(t.TempDir(), "profile")
			cmd, in, out := start(t, what, "-auth=x", "-profile="+profile)
			var addr string
			if err := out.Decode(&addr); err != nil {
				t.Fatal(err)
			}
			if got := greeting(t, addr, nil); got != "hello x\n" {
				t.Errorf("it says %q", got)
			}
			var u Usage
			if _, err := io.WriteString(in, "{}\n"); err != nil {
				t.Fatal(err)
			}
			if err := out.Decode(&u); err != nil || u.CPU <= 0 || u.RSS < 1<<20 {
				t.Errorf("usage %+v, error %v", u, err)
			}
			in.Close()
			if err := cmd.Wait(); err != nil {
				t.Error(err, cmd.Stderr)
			}
			if p, err := os.Stat(profile); err != nil || p.Size() == 0 {
				t.Errorf("profile: %v", err)
			}
		})
	}
}

// A server that does not serve says why, and does not end well.
func TestServeFails(t *testing.T) {
	for what, want := range map[string]string{"wrong": "cannot serve", "brief": "the server has stopped"} {
		cmd, in, out := start(t, what)
		defer in.Close()
		_ = out.Decode(new(string)) // it may have had an address
		if err := cmd.Wait(); err == nil || !strings.Contains(cmd.Stderr.(*strings.Builder).String(), want) {
			t.Errorf("%s: %v, %s", what, err, cmd.Stderr)
		}
	}
}

// With an authority, callers without a certificate of it are refused.
func TestMutual(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cert.pem")
	cert := writeCert(t, file)
	_, in, out := start(t, "listener", "-cert="+file, "-ca="+file)
	defer in.Close()
	var addr string
	if err := out.Decode(&addr); err != nil {
		t.Fatal(err)
	}
	client := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "server.test"}
	client.RootCAs.AddCert(cert.Leaf)
	if got := greeting(t, addr, client); got != "" {
		t.Errorf("without a certificate it says %q", got)
	}
	client.Certificates = []tls.Certificate{cert}
	if got := greeting(t, addr, client); got != "hello \n" {
		t.Errorf("with a certificate it says %q", got)
	}
}

func TestWithTLS(t *testing.T) {
	dir := t.TempDir()
	cert, empty := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "empty.pem")
	writeCert(t, cert)
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name             string
		told             Told
		tls, asks, wrong bool
	}{
		{name: "nothing"},
		{name: "an authority alone", told: Told{CA: cert}},
		{name: "certificate", told: Told{Cert: cert}, tls: true},
		{name: "both", told: Told{Cert: cert, CA: cert}, tls: true, asks: true},
		{name: "no such certificate", told: Told{Cert: cert + "x"}, wrong: true},
		{name: "no such authority", told: Told{Cert: cert, CA: cert + "x"}, wrong: true},
		{name: "an authority without certificates", told: Told{Cert: cert, CA: empty}, wrong: true},
	} {
		got, err := c.told.withTLS()
		if c.wrong {
			if err == nil {
				t.Errorf("%s: no error", c.name)
			}
			continue
		}
		if err != nil || (got.TLS != nil) != c.tls || (got.Mutual != nil) != c.tls {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
		if c.tls && ((got.Mutual.ClientAuth == tls.RequireAndVerifyClientCert) != c.asks || got.TLS.ClientAuth != tls.NoClientCert) {
			t.Errorf("%s: asks %v and %v", c.name, got.TLS.ClientAuth, got.Mutual.ClientAuth)
		}
	}
}

func TestAnswer(t *testing.T) {
	in, out := strings.NewReader("{}\n{}\n"), &strings.Builder{}
	if err := answer(in, out, "127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	var addr string
	var first, second, third Usage
	d := json.NewDecoder(strings.NewReader(out.String()))
	for _, v := range []any{&addr, &first, &second} {
		if err := d.Decode(v); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Decode(&third); err != io.EOF {
		t.Errorf("after two answers: %v, want EOF", err)
	}
	if addr != "127.0.0.1:1" || first.CPU <= 0 || second.CPU < first.CPU || first.RSS < 1<<20 {
		t.Errorf("addr %q, usage %+v, then %+v", addr, first, second)
	}
}

// greeting returns what the server says, or nothing where it refuses.
func greeting(t *testing.T, addr string, secure *tls.Config) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if secure != nil {
		conn = tls.Client(conn, secure)
	}
	line, _ := bufio.NewReader(conn).ReadString('\n') // refused: nothing
	return line
}

// writeCert writes a certificate that is its own authority, and its key.
func writeCert(t *testing.T, file string) tls.Certificate {
	t.Helper()
	if err := issuer.WriteCert(file, "server.test"); err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(file, file)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
