package access

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// question is a request, in a form that another process can be given.
type question struct {
	From   string      // the address that the connection comes from
	Method string      // of HTTP
	URL    string      //
	Host   string      // the header, where it is not the URL's
	Header http.Header //
	Body   string      // a form

	CA, Cert, Key []byte // PEM: whom to trust and who asks, with https
}

type answer struct {
	Code int
	Body string
	Err  string // why there is no answer
}

func (a answer) String() string { return fmt.Sprintf("%d %s%s", a.Code, a.Body, a.Err) }

// asker asks from one process. It keeps connections, one a source, authority and certificate.
type asker map[string]*http.Client

func (a asker) ask(q question) answer {
	client, err := a.client(q)
	if err != nil {
		return answer{Err: err.Error()}
	}
	req, err := http.NewRequest(q.Method, q.URL, strings.NewReader(q.Body))
	if err != nil {
		return answer{Err: err.Error()}
	}
	req.Host = q.Host
	for name, values := range q.Header {
		req.Header[name] = values
	}
	if q.Body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{Err: err.Error()}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{Code: resp.StatusCode, Err: err.Error()}
	}
	return answer{Code: resp.StatusCode, Body: string(body)}
}

func (a asker) client(q question) (*http.Client, error) {
	key := q.From + string(q.CA) + string(q.Cert)
	if c := a[key]; c != nil {
		return c, nil
	}
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(q.From)}, Timeout: 10 * time.Second}
	tr := &http.Transport{DialContext: dialer.DialContext, ForceAttemptHTTP2: true}
	if q.CA != nil {
		config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost", MinVersion: tls.VersionTLS12}
		config.RootCAs.AppendCertsFromPEM(q.CA)
		if q.Cert != nil {
			cert, err := tls.X509KeyPair(q.Cert, q.Key)
			if err != nil {
				return nil, err
			}
			config.Certificates = []tls.Certificate{cert}
		}
		tr.TLSClientConfig = config
	}
	a[key] = &http.Client{Transport: tr, Timeout: 30 * time.Second}
	return a[key], nil
}

func (a asker) close() {
	for _, c := range a {
		c.CloseIdleConnections()
	}
	clear(a)
}

// otherUser asks as another user of the machine: it runs this test program again
// as nobody, which only root can. It gives nil where that cannot be.
func otherUser(t *testing.T) func([]question) []answer {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Log("NOT COVERED: another user of this machine, because the test does not run as root")
		return nil
	}
	program := copyOfTest(t)
	return func(questions []question) (answers []answer) {
		t.Helper()
		input, err := json.Marshal(questions)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, program)
		cmd.Env, cmd.Dir = []string{askEnv + "=1", "GORACE=atexit_sleep_ms=0"}, "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		cmd.Stdin, cmd.Stderr = bytes.NewReader(input), os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("as another user: %v", err)
		}
		if err := json.Unmarshal(out, &answers); err != nil || len(answers) != len(questions) {
			t.Fatalf("as another user: %d answers, %v: %s", len(answers), err, out)
		}
		return answers
	}
}

const (
	nobody = 65534
	askEnv = "EASYOPS_TEST_ASK" // set in the process that asks for another
)

// copyOfTest is this program where every user may run it.
func copyOfTest(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "access-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "ask")
	if err := os.WriteFile(path, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// askForParent is the process of [otherUser].
func askForParent() int {
	if os.Getuid() != nobody {
		fmt.Fprintln(os.Stderr, "this is user", os.Getuid())
		return 1
	}
	var questions []question
	if err := json.NewDecoder(os.Stdin).Decode(&questions); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	a, answers := asker{}, make([]answer, 0, len(questions))
	for _, q := range questions {
		answers = append(answers, a.ask(q))
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		return 1
	}
	return 0
}
