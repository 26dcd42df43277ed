package easyops

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/status"
)

func TestOperator(t *testing.T) {
	alice := &auth.Principal{ID: "alice", Groups: []string{"sre", "staff"}}
	bob := &auth.Principal{ID: "bob"}
	deployer, shop := &auth.Principal{ID: "deployer"}, &auth.Principal{ID: "shop"}
	for _, test := range []struct {
		operators string
		id        auth.Identity
		want      bool
	}{
		{"user:alice", auth.Identity{User: alice}, true},
		{"user:alice", auth.Identity{User: alice, Service: shop}, true},
		{"user:alice", auth.Identity{User: bob}, false},
		{"user:deployer", auth.Identity{Service: deployer}, false},
		{"group:sre", auth.Identity{User: alice}, true},
		{"group:sre", auth.Identity{User: bob}, false},
		{"group:alice", auth.Identity{User: alice}, false},
		{"service:deployer", auth.Identity{Service: deployer}, true},
		{"service:deployer", auth.Identity{Service: shop}, false},
		{"service:deployer", auth.Identity{User: bob, Service: deployer}, false}, // bob's affair
		{"service:alice", auth.Identity{User: alice}, false},
		{"user:ann, group:staff ,service:shop", auth.Identity{User: alice}, true},
		{"user:alice", auth.Identity{}, false},
	} {
		c := newConfig()
		if err := c.setOperators(test.operators); err != nil {
			t.Fatal(err)
		}
		got := false
		for _, o := range c.operators {
			got = got || o.is(test.id)
		}
		if got != test.want {
			t.Errorf("%s, %v: %v, want %v", test.operators, auth.Caller{Identity: test.id}, got, test.want)
		}
	}
}

// Who may see which page where callers are authenticated.
func TestPagesOfOperators(t *testing.T) {
	for _, test := range []struct {
		name    string
		metrics string
		want    map[string]string // page: codes of nobody, forged, bob, the operators alice and deployer, and bob by deployer
	}{
		{"metrics for operators", "operators", map[string]string{
			"/internal/help": "401 401 403 200 200 403", "/metrics": "401 401 403 200 200 403", "/internal/debug/info": "401 401 403 200 200 403",
			"/internal/health": "200 200 200 200 200 200", "/livez": "200 200 200 200 200 200",
		}},
		{"metrics for the authenticated", "authenticated", map[string]string{
			"/internal/help": "401 401 403 200 200 403", "/metrics": "401 401 200 200 200 200", "/internal/service-info/metrics": "401 401 200 200 200 200",
		}},
		{"metrics for everyone", "everyone", map[string]string{"/metrics": "200 200 200 200 200 200"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, w way) {
				r := newRig(t, w, &funcs{}, WithAuthenticator(byWord), WithOperators("group:sre", "service:deployer"), WithMetricsAccess(test.metrics))
				for page, codes := range test.want {
					for i, tokens := range [][]string{nil, {"forged"}, {"user.bob"}, {"user.alice.sre"}, {"service.deployer"}, {"user.bob", "service.deployer"}} {
						a := r.ask(page, tokens...)
						if got, want := fmt.Sprint(a.code), strings.Fields(codes)[i]; got != want {
							t.Errorf("%s as %v: %s, want %s: %s", page, tokens, got, want, a.body)
						}
						if challenge := a.header.Get("WWW-Authenticate"); (challenge != "") != (a.code == http.StatusUnauthorized) {
							t.Errorf("%s as %v: %d with challenge %q", page, tokens, a.code, challenge)
						}
					}
				}
			})
		})
	}
}

// The audit line names who did it, and whom it refused.
func TestAuditNamesOperators(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, ways[0], &funcs{}, WithAuthenticator(byWord), WithOperators("user:alice"))
		post := func(token string) int {
			req, _ := http.NewRequest(http.MethodPost, "http://localhost/internal/pleaseshutdown", nil)
			req.Header.Set("Authorization", "Bearer "+token)
			resp, err := r.httpClient().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			return resp.StatusCode
		}
		wantEqual(t, "bob", post("user.bob"), http.StatusForbidden)
		wantEqual(t, "alice", post("user.alice"), http.StatusAccepted)
		lines := r.log.lines("audit")
		wantEqual(t, "lines", len(lines), 2)
		wantEqual(t, "who was refused", lines[0].text("who"), "user bob")
		wantEqual(t, "who", lines[1].text("who"), "user alice")
		if err := r.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// Other sites cannot make the browser of an operator change something, and a
// proxy is no operator.
func TestOperatorsAreGuarded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, ways[0], &funcs{}, WithAuthenticator(byWord), WithOperators("user:alice"))
		for name, value := range map[string]string{"Origin": "https://evil.test", "Sec-Fetch-Site": "cross-site", "X-Forwarded-For": "10.0.0.1"} {
			req, _ := http.NewRequest(http.MethodPost, "http://localhost/internal/pleaseshutdown", nil)
			req.Header.Set("Authorization", "Bearer user.alice")
			req.Header.Set(name, value)
			resp, err := r.httpClient().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			wantEqual(t, name, resp.StatusCode, http.StatusForbidden)
		}
	})
}

// The rules on the API page are those that hold, and they are enforced.
func TestRulesOnThePage(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, ways[0], &funcs{}, WithAuthenticator(byWord), WithAccess(testServiceName, auth.Access{Allow: auth.Services}),
			WithAccess(unaryMethod, auth.Access{Groups: []string{"staff"}}))
		for _, m := range r.describe()[0].Methods {
			want := "SERVICES"
			if m.Name == "UnaryCall" {
				want = "AUTHENTICATED groups: staff"
			}
			wantEqual(t, m.Name, m.Access, want)
			wantEqual(t, m.Name+" not enforced", m.NotEnforced, false)
		}
	})
}

// A command on a page shows a token where the server knows callers by tokens:
// for a method that is for everyone too, as reflection is not.
func TestCommandsOnThePage(t *testing.T) {
	everyone := WithAccess(unaryMethod, auth.Access{Allow: auth.Everyone})
	for name, test := range map[string]struct {
		opts []ServerOption
		want bool
	}{
		"standalone":    {nil, false},
		"insecure":      {[]ServerOption{WithAuth("insecure-none")}, false},
		"authenticated": {[]ServerOption{WithAuthenticator(byWord), WithOperators("user:alice")}, true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, ways[0], &funcs{}, append(test.opts, everyone)...)
				for _, s := range r.describe() {
					for _, m := range s.Methods {
						wantEqual(t, s.Name+"/"+m.Name, m.Token, test.want)
					}
				}
				if !test.want {
					return
				}
				body := r.ask("/internal/service-info/api", "user.alice").body
				if !strings.Contains(body, `-H "authorization: Bearer $TOKEN"`) {
					t.Errorf("the command has no token:\n%s", body)
				}
				body = r.ask("/internal/service-info/api?format=json", "user.alice").body
				if !strings.Contains(body, `"token": true`) || strings.Contains(body, `"token": false`) {
					t.Errorf("JSON has\n%s", body)
				}
			})
		})
	}
}

// source is an authenticator that rests on something.
type source struct {
	auth.Authenticator
	mu        sync.Mutex
	refreshed int
	state     auth.SourceState
}

func (s *source) Refresh(time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refreshed++
	if s.refreshed == 3 {
		panic("out of paper")
	}
}

func (s *source) State() auth.SourceState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// What identity rests on is refreshed once a second, and shown: on the help
// page, in JSON, and as metrics.
func TestSources(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		src := &source{Authenticator: byWord, state: auth.SourceState{Name: "keys", Where: "keys.json", What: "key k1", Since: time.Now()}}
		r := newRig(t, ways[0], &funcs{}, WithAuthenticator(src), WithOperators("user:alice"),
			WithTLSConfig(&tls.Config{Certificates: []tls.Certificate{testCert()}}))
		r.way.viaH2 = true // TLS
		time.Sleep(5*time.Second + time.Millisecond)
		src.mu.Lock()
		wantEqual(t, "refreshed", src.refreshed, 5)
		src.mu.Unlock()
		wantEqual(t, "failing", r.sample("easyops_identity_source_failing", "source", "keys keys.json"), 0)
		wantEqual(t, "expiry", r.sample("easyops_certificate_expiry_timestamp_seconds"), float64(testCert().Leaf.NotAfter.Unix()))

		src.mu.Lock()
		src.state.Err = errors.New("half a file")
		src.mu.Unlock()
		wantEqual(t, "failing", r.sample("easyops_identity_source_failing", "source", "keys keys.json"), 1)
		a := r.ask("/internal/help", "user.alice")
		for _, want := range []string{"authenticated by *easyops.source", "user:alice", "keys.json", "key k1", "half a file"} {
			if !strings.Contains(a.body, want) {
				t.Errorf("no %q on the page:\n%s", want, a.body)
			}
		}
		var page status.HelpData
		if err := json.Unmarshal([]byte(r.ask("/internal/help?format=json", "user.alice").body), &page); err != nil {
			t.Fatal(err)
		}
		if id := page.Identity; id == nil || len(id.Sources) != 1 || id.Sources[0].Error != "half a file" || id.Sources[0].Expires != nil || id.Operators != "user:alice" {
			t.Errorf("JSON has %+v", id)
		}
	})
}

// An authenticator of the program's that panics takes one call with it.
func TestAuthenticatorPanics(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		broken := auth.AuthenticatorFunc(func(ctx context.Context, c auth.Credential) (auth.Identity, error) { panic(c) })
		r := newRig(t, w, &funcs{}, WithAuthenticator(broken), WithHTTP("/mine", http.NotFoundHandler()))
		for kind, got := range allKinds(as(t.Context(), "canary"), r.client()) {
			wantEqual(t, kind, got, codes.Internal)
		}
		for _, path := range []string{"/mine", "/internal/help"} {
			wantEqual(t, path, r.ask(path, "canary").code, http.StatusInternalServerError)
		}
		for _, e := range r.log.lines("") {
			if strings.Contains(fmt.Sprint(e), "canary") {
				t.Errorf("a token is in the log: %v", e)
			}
		}
	})
}
