package easyops

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/go-easyops/easyops/runtime/auth"
)

// answer is what a request was answered with.
type answer struct {
	code   int
	body   string
	header http.Header
}

// ask gets a page as somebody who presents tokens.
func (r *rig) ask(path string, tokens ...string) (a answer) {
	r.t.Helper()
	scheme := "http"
	if r.way.viaH2 {
		scheme = "https"
	}
	req, err := http.NewRequest(http.MethodGet, scheme+"://localhost"+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for i, header := range []string{auth.UserHeader, auth.ServiceHeader} {
		if i < len(tokens) && tokens[i] != "" {
			req.Header.Set(header, "Bearer "+tokens[i])
		}
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
	return answer{resp.StatusCode, string(b), resp.Header}
}

// Rules hold for HTTP handlers as they do for methods, before the handler runs
// or anything of a body is read.
func TestIdentityOverHTTP(t *testing.T) {
	rules := []auth.Access{{}, {Allow: auth.Users}, {Groups: []string{"staff"}}, {Allow: auth.Services}, {Services: []string{"shop"}}, {Allow: auth.Everyone}}
	want := map[string]string{ // in that order
		"":                              "401 401 401 401 401 200",
		"forged":                        "401 401 401 401 401 200",
		"user.bob":                      "200 200 403 403 403 200",
		"user.alice.staff":              "200 200 200 403 403 200",
		"service.other":                 "200 403 403 200 403 200",
		"service.shop":                  "200 403 403 200 200 200",
		"user.alice.staff service.shop": "200 200 200 200 200 200",
	}
	eachWay(t, func(t *testing.T, w way) {
		served := 0
		opts := []ServerOption{WithAuthenticator(byWord)}
		for i, rule := range rules {
			opts = append(opts, WithHTTP(fmt.Sprintf("/%d", i), http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }), rule))
		}
		r := newRig(t, w, &funcs{}, opts...)
		for tokens, codes := range want {
			for i, code := range strings.Fields(codes) {
				before := served
				a := r.ask(fmt.Sprintf("/%d", i), strings.Fields(tokens)...)
				if got := fmt.Sprint(a.code); got != code {
					t.Errorf("%q on %v: %s, want %s", tokens, rules[i], got, code)
				}
				if (served > before) != (code == "200") {
					t.Errorf("%q on %v: the handler ran %d times", tokens, rules[i], served-before)
				}
				if challenge := a.header.Get("WWW-Authenticate"); (challenge == "Bearer") != (code == "401") {
					t.Errorf("%q on %v: %s with challenge %q", tokens, rules[i], code, challenge)
				}
			}
		}
	})
}

// What is wrong with a request is for the log.
func TestCauseIsForTheLogOverHTTP(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{}, WithAuthenticator(byWord), WithHTTP("/mine", http.NotFoundHandler()))
		for path, line := range map[string]string{"/mine": "call", "/internal/help": "page refused"} {
			a := r.ask(path, "forged")
			wantEqual(t, path, a.code, http.StatusUnauthorized)
			if strings.Contains(a.body, "canary") {
				t.Errorf("%s says %q", path, a.body)
			}
			e := r.log.one(t, line)
			if !strings.Contains(e.text("err"), "the canary has sung") || e.text("peer") == "" {
				t.Errorf("%s: logged %v", path, e)
			}
		}
	})
}
