package identity

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/test/identity/matrix"
)

// journal keeps what a server writes.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// talkative says in its errors, its log and its panics all that it can lay its
// hands on, short of the headers.
type talkative struct {
	impl
	log *slog.Logger
}

func (t talkative) tell(ctx context.Context) error {
	c := auth.CallerFrom(ctx)
	t.log.InfoContext(ctx, "told", "ctx", fmt.Sprintf("%v %+v", ctx, ctx), "caller", c, "plain", fmt.Sprintf("%v %+v %#v", c, *c, c), "user", auth.User(ctx))
	return fmt.Errorf("%v %+v %#v %v", ctx, c, *c, auth.User(ctx))
}

func (t talkative) SilentUnary(ctx context.Context, _ *who) (*who, error) { return nil, t.tell(ctx) }

func (t talkative) SilentDown(_ *who, s down) error { panic(t.tell(s.Context())) }

func (t talkative) EveryoneUnary(ctx context.Context, _ *who) (*who, error) {
	return nil, t.tell(ctx)
}

// told is an authenticator of the program's that says what it is asked.
func told(log *slog.Logger) auth.Authenticator {
	return auth.AuthenticatorFunc(func(_ context.Context, c auth.Credential) (auth.Identity, error) {
		log.Info("asked", "credential", c, "plain", fmt.Sprintf("%v %+v %#v", c, c, c))
		return auth.Identity{}, errors.New("not mine: " + fmt.Sprint(c))
	})
}

// TestCanary: what is put into any place where secrets go is seen in no other:
// not in logs, pages, metrics, errors and dumps of goroutines.
func TestCanary(t *testing.T) {
	for _, mode := range []string{"standalone", "mTLS"} {
		for _, way := range ways {
			t.Run(mode+"/"+way.name, func(t *testing.T) { testCanary(t, newWorld(t), mode, way) })
		}
	}
}

func testCanary(t *testing.T, w *world, mode string, way way) {
	var j journal
	log := slog.New(slog.NewTextHandler(&j, &slog.HandlerOptions{Level: slog.LevelDebug}))
	opts := append(w.options(mode, way), easyops.WithLogger(log),
		easyops.WithOnError(func(ctx context.Context, method string, err error) {
			log.Error("on error", "ctx", fmt.Sprintf("%+v", ctx), "method", method, "err", err)
		}),
		easyops.WithHTTP("/mine", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			panic(talkative{log: log}.tell(r.Context()))
		})))
	if mode != "standalone" {
		opts = append(opts, easyops.WithAuthenticator(told(log)), easyops.WithOperators("user:root"))
	}
	s, err := matrix.StartMatrixServer(talkative{log: log}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Shutdown(context.Background()) })
	p := w.peers(t, s, mode, way)[""]

	good, root := w.users.token("alice", time.Hour), w.users.token("root", time.Hour)
	forged, late := w.users.forged("alice"), w.users.token("alice", -time.Hour)
	secrets := []string{good, root, forged, late}
	for i := range secrets {
		secrets[i] = secrets[i][strings.LastIndex(secrets[i], ".")+1:] // its signature
	}
	const canary = "canary-1f0e"
	var answers strings.Builder
	for _, header := range []http.Header{
		{"Authorization": {"Bearer " + good}},
		{"Authorization": {"Bearer " + forged}},
		{"Authorization": {"Bearer " + late}},
		{"Authorization": {"Bearer " + good, "Bearer " + forged}},
		{"Authorization": {"Bearer " + canary}},
		{"Authorization": {"Basic " + canary}},
		{"Authorization": {canary}},
		{"Easyops-Service-Authorization": {"Bearer " + canary}},
		{"Easyops-Service-Authorization": {"Bearer " + good}},
		{"Authorization": {"Bearer " + canary + "." + canary + "." + canary}},
		{"Authorization": {"Bearer " + good + canary}},
		{"Authorization": {"Bearer " + canary + good}},
	} {
		for _, method := range []string{service + "/SilentUnary", service + "/SilentDown", service + "/GroupsUnary", service + "/EveryoneUnary", service + "/Missing", "grpc.health.v1.Health/Check"} {
			fmt.Fprintln(&answers, p.call(t, method, header, true))
		}
		for _, page := range []string{"/mine", "/internal/help", "/metrics", "/livez", "/nothing"} {
			fmt.Fprintln(&answers, fetch(t, p, page, header))
		}
	}
	for _, page := range pagesOf(t, p, mode, root) {
		header := http.Header{}
		if mode != "standalone" {
			header.Set("Authorization", "Bearer "+root)
		}
		fmt.Fprintln(&answers, page, fetch(t, p, page, header))
	}
	if mode != "standalone" && !strings.Contains(j.String(), "user alice") {
		t.Error("nobody has told anything") // the control: what may be seen is
	}
	for _, secret := range append(secrets, canary) {
		for where, text := range map[string]string{"log": j.String(), "answers": answers.String()} {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("a secret is in the %s: %q", where, text[max(0, at-200):min(len(text), at+100)])
			}
		}
	}
}

// fetch gets a page over the peer's connection.
func fetch(t *testing.T, p *peer, page string, header http.Header) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.scheme+"://"+p.addr+page, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := p.pages.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// pagesOf lists the pages that an operator sees, but for those that take long.
func pagesOf(t *testing.T, p *peer, mode, root string) (pages []string) {
	t.Helper()
	header := http.Header{"Accept": {"application/json"}}
	if mode != "standalone" {
		header.Set("Authorization", "Bearer "+root)
	}
	text := fetch(t, p, "/internal/help", header)
	var help struct {
		Pages []struct {
			Path    string
			Methods []string
		}
	}
	if err := json.Unmarshal([]byte(text[strings.Index(text, "{"):]), &help); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	for _, page := range help.Pages {
		switch {
		case page.Methods[0] != http.MethodGet, strings.Contains(page.Path, "{"):
		case slices.ContainsFunc([]string{"/cpu", "/profile", "/trace"}, func(s string) bool { return strings.HasSuffix(page.Path, s) }):
			// names of functions, after a while
		case strings.HasSuffix(page.Path, "/goroutine"):
			pages = append(pages, page.Path+"?debug=2")
		default:
			pages = append(pages, page.Path)
		}
	}
	if len(pages) < 10 {
		t.Fatalf("only %v", pages)
	}
	return pages
}
