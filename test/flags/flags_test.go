package flags

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/easyopstest"
	"github.com/go-easyops/easyops/runtime/flags"
	"github.com/go-easyops/easyops/runtime/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const parameters = "/internal/parameters"

// server is a server with flags.
type server struct {
	t    *testing.T
	url  string
	log  *logbook
	http *http.Client
}

func start(t *testing.T, fs *flag.FlagSet, opts ...easyops.ServerOption) *server {
	t.Helper()
	s := &server{t: t, log: &logbook{}, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}}}
	opts = append([]easyops.ServerOption{
		easyops.WithFlags(fs), easyops.WithLogger(slog.New(slog.NewJSONHandler(s.log, nil))), easyops.WithLogLevel(slog.LevelDebug),
	}, opts...)
	impl := echov1.UnimplementedEchoServiceServer{}
	running := easyopstest.StartStandalone(t, []easyops.Service{echov1.BindEchoServiceServer(impl)}, opts...)
	s.url = "http://" + running.Addr().String()
	t.Cleanup(s.http.CloseIdleConnections)
	return s
}

// do sends a request and returns the answer.
func (s *server) do(method, path, contentType, body string) (int, string) {
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Error(err)
		return 0, ""
	}
	if body != "" {
		r.Header.Set("Content-Type", contentType)
	}
	resp, err := s.http.Do(r)
	if err != nil {
		s.t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Error(err)
	}
	return resp.StatusCode, string(answer)
}

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

// logbook is a log.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestWritersAndReaders: 8 write over HTTP and 8 read, some over HTTP and some as
// programs do. Two flags that are only changed together are never listed apart, and a
// change with a wrong part changes nothing.
func TestWritersAndReaders(t *testing.T) {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	easyops.RegisterFlags(fs)
	a, b := flags.New("a", 0, "", flags.In(fs)), flags.New("b", 0, "", flags.In(fs))
	alone := flags.New("alone", "never", "", flags.In(fs), flags.OneOf("never", "ever"))
	names := flags.New("names", []string{"0"}, "", flags.In(fs))
	var told atomic.Int64
	a.OnChange(func(_, to int) { told.Store(int64(to)) })
	s := start(t, fs, easyops.WithAccessLogSample(0))
	end := time.Now().Add(rush)
	var parts sync.WaitGroup
	var writes, reads atomic.Int64
	for w := range 8 {
		parts.Go(func() {
			for i := w; time.Now().Before(end); i++ {
				s.write(i)
				writes.Add(1)
			}
		})
		parts.Go(func() {
			for time.Now().Before(end) {
				if w%2 == 0 {
					s.read()
				} else {
					for range 1000 {
						_, _, _ = a.Get(), b.Get(), len(names.Get())
					}
					time.Sleep(time.Millisecond) // and leave the processors to the others
				}
				if alone.Get() != "never" {
					t.Error("a change with a wrong part was made")
				}
				reads.Add(1)
			}
		})
	}
	parts.Wait()
	t.Logf("%d writes, %d reads", writes.Load(), reads.Load())
	if code, body := s.do("POST", parameters, formType, "a=-1&b=-1"); code != 200 || a.Get() != -1 || b.Get() != -1 || told.Load() != -1 {
		t.Error(code, body, a.Get(), b.Get(), told.Load())
	}
}

// write changes the flags in one of several ways.
func (s *server) write(i int) {
	n := strconv.Itoa(rand.IntN(1000))
	query, contentType, want := "", formType, 200
	body := "a=" + n + "&b=" + n + "&names=" + n
	switch i % 7 {
	case 1:
		query = "?ttl=1"
	case 2:
		query = "?dry_run"
	case 3:
		body, want = body+"&alone=maybe", 400
	case 4:
		body, want = `{"alone": "ever", "a": "`+n+`x"}`, 400
		contentType = jsonType
	case 5:
		contentType, body = jsonType, `{"a": `+n+`, "b": `+n+`, "names": ["`+n+`"]}`
	case 6:
		body = "easyops.access-log-sample=" + n + "&easyops.log-level=debug"
	}
	if code, answer := s.do("POST", parameters+query, contentType, body); code != want {
		s.t.Errorf("%s: %d, want %d: %s", body, code, want, answer)
	}
}

// read asks for the list.
func (s *server) read() {
	_, body := s.do("GET", parameters+"?format=json", "", "")
	var d status.ParametersData
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		s.t.Error(err, body)
	}
	now := map[string]string{}
	for _, p := range d.Parameters {
		now[p.Name] = p.Value
	}
	if now["a"] == "" || now["a"] != now["b"] {
		s.t.Errorf("a is %s and b is %s", now["a"], now["b"])
	}
}

// setEnv has a process of this test write flags as package flag does.
const setEnv = "EASYOPS_TEST_SET_FLAGS"

// TestPackageFlagsOwnWay: the control of the test above. [flag.FlagSet.Set] from
// several goroutines ends the process, or the race detector speaks up.
func TestPackageFlagsOwnWay(t *testing.T) {
	if os.Getenv(setEnv) != "" {
		setUntilTheEnd()
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPackageFlagsOwnWay$")
	cmd.Env = append(os.Environ(), setEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "concurrent map writes") && !strings.Contains(string(out), "DATA RACE") {
		t.Errorf("%v: %s", err, out)
	}
}

func setUntilTheEnd() {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	fs.Int("n", 0, "")
	var parts sync.WaitGroup
	for i := range 8 {
		parts.Go(func() {
			for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
				_ = fs.Set("n", strconv.Itoa(i))
			}
		})
	}
	parts.Wait()
}

// TestSecretsAreNowhere: the value of a secret flag is in no page in any form, in
// no answer to who tries to set it, in no profile, metric or log.
func TestSecretsAreNowhere(t *testing.T) {
	const canary = "canary9d2e7f"
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	easyops.RegisterFlags(fs)
	token := flags.New("mail.token", "", "", flags.In(fs))
	pin := flags.New("pin", "", "", flags.In(fs), flags.Secret())
	url := flags.New("db", "", "", flags.In(fs))
	fs.String("their-password", "", "")
	if err := fs.Parse([]string{"-mail.token=" + canary, "-pin", canary, "-db=pg://me:" + canary + "@db/x", "-their-password=" + canary}); err != nil {
		t.Fatal(err)
	}
	if token.Get() != canary || pin.Get() != canary || !strings.Contains(url.Get(), canary) {
		t.Fatal("the program does not know its secrets")
	}
	s := start(t, fs)
	look := func(what, text string) {
		t.Helper()
		if i := strings.Index(text, canary); i >= 0 {
			t.Errorf("%s: …%.300s", what, text[max(0, i-100):])
		}
	}
	for _, body := range []string{"mail.token=", "pin=", "their-password=", "unknown=", "db=pg://me:"} {
		body += canary + "@db/y"
		for _, format := range []string{"html", "json", "text"} {
			code, answer := s.do("POST", parameters+"?format="+format, formType, body)
			look("POST "+body, answer)
			if (code == 200) != strings.HasPrefix(body, "db=") {
				t.Error(body, code, answer)
			}
		}
	}
	if token.Get() != canary || !strings.HasSuffix(url.Get(), "/y") {
		t.Error("what must not be changed was, or the other way round")
	}
	pages := s.pages()
	for _, page := range pages {
		for _, query := range queries(page) {
			_, body := s.do("GET", page+query, "", "")
			look(page, body)
		}
	}
	for _, page := range []string{"/internal/debug/goroutine?debug=2", "/internal/debug/heap?debug=1", "/internal/debug/allocs?debug=1", parameters + "?name=pin&format=html", parameters + "?filter=db&format=html"} {
		_, body := s.do("GET", page, "", "")
		look(page, body)
	}
	look("log", s.log.String())
	if len(pages) < 15 || !strings.Contains(s.log.String(), `"what":"mail.token"`) {
		t.Error("too little was looked at", pages)
	}
	_, body := s.do("GET", parameters+"?format=text", "", "")
	if strings.Count(body, flags.Redacted) < 4 {
		t.Error(body)
	}
}

// queries are the forms of a page. Those of profiles are all the same.
func queries(page string) []string {
	if name, ok := strings.CutPrefix(page, "/internal/debug/"); ok && name != "info" {
		if name == "cpu" || name == "profile" || name == "trace" {
			return []string{"?seconds=1"}
		}
		return []string{""}
	}
	return []string{"?format=html", "?format=json", "?format=text"}
}

// pages are the paths of all pages that answer a GET, but for those that take
// long.
func (s *server) pages() (paths []string) {
	_, body := s.do("GET", "/internal/help?format=json", "", "")
	var d struct {
		Pages []struct {
			Path    string   `json:"path"`
			Methods []string `json:"methods"`
		} `json:"pages"`
	}
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		s.t.Fatal(err, body)
	}
	for _, p := range d.Pages {
		if !strings.Contains(p.Path, "{") && !strings.HasPrefix(fmt.Sprint(p.Methods), "[POST") {
			paths = append(paths, p.Path)
		}
	}
	return paths
}
