package easyops

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/status"
)

// operated is a server that takes alice for its operator.
func operated(t *testing.T, opts ...ServerOption) *rig {
	t.Helper()
	return newRig(t, ways[0], &funcs{}, append(opts, WithAuthenticator(byWord), WithOperators("user:alice"))...)
}

// post sends a POST as whom the token is for, with headers as pairs.
func (r *rig) post(path, token string, headers ...string) (code int, body string) {
	r.t.Helper()
	return r.request(http.MethodPost, path, token, headers...)
}

func (r *rig) request(method, path, token string, headers ...string) (code int, body string) {
	r.t.Helper()
	req, err := http.NewRequest(method, "http://localhost"+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := r.httpClient().Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

const (
	unregister = "/internal/unregister"
	undo       = unregister + "?undo"
)

// asAlice expects the operator's POST to be answered in a way.
func (r *rig) asAlice(path string, want int) (body string) {
	r.t.Helper()
	code, body := r.post(path, "user.alice")
	if code != want {
		r.t.Errorf("%s: %d %s, want %d", path, code, body, want)
	}
	synctest.Wait()
	return body
}

// registryState is what the gauges say; it is an error if they say more than one.
func (r *rig) gaugedState() (state string) {
	r.t.Helper()
	for _, s := range []string{"unregistered", "registered", "lost", takenOutState} {
		if r.sample("easyops_registry_state", "state", s) == 1 {
			state += s
		}
	}
	return state
}

// A server that is taken out of the registry serves on, and nothing but an
// operator lists it again.
func TestUnregister(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var f flip
		l, opt := newLedger(t)
		r := operated(t, opt, WithCheck("disk", f.check))
		synctest.Wait()
		wantEqual(t, "state", r.gaugedState(), "registered")

		for range 2 { // the second time changes nothing
			r.asAlice(unregister, http.StatusOK)
			wantEqual(t, "registry", l.past(), "READY gone")
			wantEqual(t, "state", r.gaugedState(), takenOutState)
		}
		for _, fails := range []bool{true, false} {
			f.fails.Store(fails)
			time.Sleep(checkEvery + time.Millisecond)
		}
		r.wantHealth(registry.Ready)
		wantEqual(t, "registry after changes of health", l.past(), "READY gone")
		_, err := r.client().EmptyCall(as(t.Context(), "user.alice"), &testpb.Empty{})
		wantCode(t, err, codes.OK)
		_, body := r.request(http.MethodGet, "/internal/health", "")
		wantEqual(t, "health", body, "READY\nregistry: taken out by an operator\n")

		for range 2 {
			r.asAlice(undo, http.StatusOK)
			wantEqual(t, "registry", l.past(), "READY gone READY")
			wantEqual(t, "state", r.gaugedState(), "registered")
		}
		f.fails.Store(true)
		time.Sleep(checkEvery + time.Millisecond)
		wantEqual(t, "registry after the next change of health", l.past(), "READY gone READY NOT_READY")
		_, body = r.request(http.MethodGet, "/internal/health", "")
		wantEqual(t, "health", body, "NOT_READY\n")

		var lines []string
		for _, line := range r.log.lines("audit") {
			lines = append(lines, fmt.Sprintf("%s: %s from %s to %s", line.text("who"), line.text("what"), line.text("old"), line.text("new")))
		}
		const in, out = "registered", "taken out by an operator"
		wantEqual(t, "audit", strings.Join(lines, "\n"), strings.Join([]string{
			"user alice: registry from " + in + " to " + out, "user alice: registry from " + out + " to " + out,
			"user alice: registry from " + out + " to " + in, "user alice: registry from " + in + " to " + in,
		}, "\n"))
	})
}

// A server that is taken out leaves the registry alone when it stops; one that
// is not says so there.
func TestStopAfterUnregister(t *testing.T) {
	for path, want := range map[string]string{unregister: "READY gone", undo: "READY STOPPING gone"} {
		inBubble(t, func(t *testing.T) {
			l, opt := newLedger(t)
			r := operated(t, opt)
			synctest.Wait()
			r.asAlice(path, http.StatusOK)
			if err := r.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			wantEqual(t, path, l.past(), want)
		})
	}
}

// What an operator wants holds through an outage of the registry, and the answer
// says that the registry does not know yet.
func TestUnregisterDuringAnOutage(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l, opt := newLedger(t)
		r := operated(t, opt)
		synctest.Wait()
		l.hang.Store(true)
		var d status.RegistryData
		if err := json.Unmarshal([]byte(r.asAlice(unregister+"?format=json", http.StatusAccepted)), &d); err != nil {
			t.Fatal(err)
		}
		if d.State != "registered" || !d.TakenOut {
			t.Errorf("answer: %+v", d)
		}
		_, help := r.request(http.MethodGet, "/internal/help", "user.alice")
		if !strings.Contains(help, "registered, being taken out by an operator") {
			t.Errorf("help page: %s", help)
		}
		time.Sleep(20 * time.Second)
		wantEqual(t, "registry", l.past(), "READY")
		wantEqual(t, "state", r.gaugedState(), "registered")
		l.hang.Store(false)
		time.Sleep(20 * time.Second)
		wantEqual(t, "registry after the outage", l.past(), "READY gone")
		wantEqual(t, "state after the outage", r.gaugedState(), takenOutState)

		l.hang.Store(true)
		r.asAlice(undo, http.StatusAccepted)
		l.hang.Store(false)
		time.Sleep(20 * time.Second)
		wantEqual(t, "registry after the undoing", l.past(), "READY gone READY")
	})
}

// A server can be taken out before it has come up for the first time.
func TestUnregisterWhileStarting(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		release := make(chan struct{})
		l, opt := newLedger(t)
		r := operated(t, opt, WithCheck("slow", func(ctx context.Context) error {
			select {
			case <-release:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}))
		r.asAlice(undo, http.StatusAccepted)
		r.asAlice(unregister, http.StatusOK)
		close(release)
		r.wantHealth(registry.Ready)
		wantEqual(t, "registry", l.past(), "")
		r.asAlice(undo, http.StatusOK)
		wantEqual(t, "registry", l.past(), "READY")
	})
}

// Where there is nothing to change the answer says why.
func TestNothingToUnregister(t *testing.T) {
	_, listed := newLedger(t)
	for name, test := range map[string]struct {
		opts  []ServerOption
		want  string
		state string // of the gauges, which are not there without a registry
	}{
		"no registry": {[]ServerOption{WithRegistry("none")}, "-easyops.registry", ""},
		"not listed":  {[]ServerOption{WithoutRegistration()}, "WithoutRegistration", ""},
		"no address":  {[]ServerOption{listed, WithAdvertise("")}, "-easyops.advertise", "unregistered"},
	} {
		inBubble(t, func(t *testing.T) {
			r := operated(t, test.opts...)
			for _, path := range []string{unregister, undo} {
				if body := r.asAlice(path, http.StatusConflict); !strings.Contains(body, test.want) {
					t.Errorf("%s: %s", name, body)
				}
			}
			_, help := r.request(http.MethodGet, "/internal/help", "user.alice")
			if !strings.Contains(help, "not listed") || !strings.Contains(help, test.want) {
				t.Errorf("%s: help page: %s", name, help)
			}
			wantEqual(t, "state", r.gaugedState(), test.state)
		})
	}
}

// A server that is stopping is on its way out of the registry already.
func TestUnregisterWhileStopping(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l, opt := newLedger(t)
		r := operated(t, opt, WithDrainDelay(5*time.Second))
		synctest.Wait()
		ended := r.goShutdown(t.Context())
		time.Sleep(time.Second)
		for _, path := range []string{unregister, undo} {
			if body := r.asAlice(path, http.StatusConflict); !strings.Contains(body, "stopping") {
				t.Errorf("%s: %s", path, body)
			}
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		wantEqual(t, "registry", l.past(), "READY STOPPING gone")
	})
}

// Only a POST of an operator, from no other site and through no proxy, changes
// something.
func TestWhoMayUnregister(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		l, opt := newLedger(t)
		r := operated(t, opt)
		synctest.Wait()
		for name, test := range map[string]struct {
			method, token string
			headers       []string
			want          int
		}{
			"nobody":       {http.MethodPost, "", nil, http.StatusUnauthorized},
			"no operator":  {http.MethodPost, "user.bob", nil, http.StatusForbidden},
			"other site":   {http.MethodPost, "user.alice", []string{"Origin", "https://evil.example"}, http.StatusForbidden},
			"proxy":        {http.MethodPost, "user.alice", []string{"X-Forwarded-For", "127.0.0.1"}, http.StatusForbidden},
			"GET":          {http.MethodGet, "user.alice", nil, http.StatusMethodNotAllowed},
			"PUT":          {http.MethodPut, "user.alice", nil, http.StatusMethodNotAllowed},
			"another site": {http.MethodPost, "user.alice", []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		} {
			for _, path := range []string{unregister, undo} {
				if code, body := r.request(test.method, path, test.token, test.headers...); code != test.want {
					t.Errorf("%s: %d %s, want %d", name, code, body, test.want)
				}
			}
		}
		r.asAlice(unregister+"?undo=false", http.StatusBadRequest)
		wantEqual(t, "registry", l.past(), "READY")
		r.asAlice(unregister, http.StatusOK)
		wantEqual(t, "registry after the operator's POST", l.past(), "READY gone")
	})
}

// The pages that tell of other servers are the operator's.
func TestWhoMaySeeConnections(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := operated(t)
		for _, path := range []string{"/internal/service-info/grpc-connections", "/internal/service-info/dependencies"} {
			for token, want := range map[string]int{"": 401, "user.bob": 403, "user.alice": 200} {
				code, body := r.request(http.MethodGet, path, token)
				wantEqual(t, path+" as "+token+": "+body, code, want)
			}
			code, _ := r.request(http.MethodGet, path, "user.alice", "X-Forwarded-For", "127.0.0.1")
			wantEqual(t, path+" through a proxy", code, http.StatusForbidden)
		}
	})
}
