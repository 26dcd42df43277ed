package rotation

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-easyops/easyops/test/serve"
)

// server is a process of the example with an operator who looks at it.
type server struct {
	*serve.Server
	files issued
	keys  *keys
	roots *x509.CertPool // all authorities that it may ever be of
}

// source is one of those that the help page shows.
type source struct {
	Name, Where, What, Error string
	Since                    time.Time
}

func startServer(t *testing.T, files issued, k *keys, registry string, roots *x509.CertPool, specs ...string) *server {
	t.Helper()
	s := &server{files: files, keys: k, roots: roots}
	s.Server = serve.Start(t,
		"-easyops.tls-cert="+files.cert(), "-easyops.tls-key="+files.key(), "-easyops.tls-ca="+files.ca(),
		"-easyops.auth="+strings.Join(append([]string{"mtls", k.specs()}, specs...), ","),
		"-easyops.operators=user:olga", "-easyops.registry="+registry, "-easyops.drain-delay=100ms",
	)
	return s
}

// stop ends the server as a deployment does, which must go well.
func (s *server) stop(t *testing.T) {
	t.Helper()
	s.Signal(t, syscall.SIGTERM)
	if code := s.Wait(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.Log())
	}
	if strings.Contains(s.Log(), "DATA RACE") {
		t.Errorf("the server has a data race\n%s", s.Log())
	}
}

// page returns a status page, over a connection of its own, or an error that
// tells the status.
func (s *server) page(path, token string) (string, error) {
	client := http.Client{
		Timeout:   patience,
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: s.roots}},
	}
	r, err := http.NewRequest(http.MethodGet, "https://"+s.Addr+path, nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.200s", path, answer.Status, body)
	}
	return string(body), err
}

// mustPage is page for the operator.
func (s *server) mustPage(t *testing.T, path string) string {
	t.Helper()
	text, err := s.page(path, s.keys.operator.get())
	if err != nil {
		t.Fatalf("%v\n%s", err, s.tail())
	}
	return text
}

func (s *server) sources(t *testing.T) (all []source) {
	t.Helper()
	var page struct{ Identity struct{ Sources []source } }
	text := s.mustPage(t, "/internal/help?format=json")
	if err := json.Unmarshal([]byte(text), &page); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return page.Identity.Sources
}

// source returns those that rest on a file or address, of which there may be two.
func (s *server) source(t *testing.T, where string) (found []source) {
	t.Helper()
	for _, one := range s.sources(t) {
		if strings.Contains(one.Where, where) {
			found = append(found, one)
		}
	}
	if len(found) == 0 {
		t.Fatalf("the help page shows nothing of %s", where)
	}
	return found
}

// await waits until all sources of a file or address are as wanted.
func (s *server) await(t *testing.T, where string, wanted func(source) bool) {
	t.Helper()
	var found []source
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		found = s.source(t, where)
		all := true
		for _, one := range found {
			all = all && wanted(one)
		}
		if all {
			return
		}
	}
	t.Fatalf("still %+v\n%s", found, s.tail())
}

// awaitNewer waits until what is there after a change is in force, and all is
// well.
func (s *server) awaitNewer(t *testing.T, where string, change func()) {
	t.Helper()
	before := s.source(t, where)[0]
	change()
	s.await(t, where, func(now source) bool { return now.Error == "" && now.Since.After(before.Since) })
}

// failing returns the value of the metric that says that a source fails.
func (s *server) failing(t *testing.T, where string) string {
	t.Helper()
	pattern := regexp.MustCompile(`(?m)^easyops_identity_source_failing\{[^}]*` + regexp.QuoteMeta(where) + `[^}]*\} (\S+)$`)
	text := s.mustPage(t, "/metrics")
	m := pattern.FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no metric easyops_identity_source_failing of %s in\n%s", where, text)
	}
	return m[1]
}

// said counts the lines of the log with all of the texts.
func (s *server) said(texts ...string) (n int) {
lines:
	for line := range strings.Lines(s.Log()) {
		for _, text := range texts {
			if !strings.Contains(line, text) {
				continue lines
			}
		}
		n++
	}
	return n
}

// tail is the end of the log.
func (s *server) tail() string {
	log := s.Log()
	return log[max(0, len(log)-4000):]
}
