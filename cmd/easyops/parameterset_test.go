package main

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/easyopstest"
	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/status"
)

const level = "easyops.log-level"

// levels are the values of the log level, in the order of the instances' IDs.
func levels(t *testing.T, args ...string) (values []string) {
	t.Helper()
	doc := decode[parametersDocument](t, mustCall(t, append([]string{"flags", "get", "--json", "--service", echoService, level}, args...)...))
	for _, i := range doc.Instances {
		values = append(values, i.Page.Parameters[0].Value)
	}
	return values
}

type parametersDocument struct {
	Version   int
	Instances []answer[status.ParametersData]
}

// The line that operators are to know by heart.
func TestFlagsSetOfAService(t *testing.T) {
	f := newFleet(t)
	f.add()
	f.add()
	f.add()
	line := strings.Fields("flags set --service echo.v1.EchoService easyops.log-level=debug --ttl")
	const question = "easyops: flags set: this would change flags of 3 instances of echo.v1.EchoService, and nobody answers whether it may: add --yes\n"
	expect(t, 2, question, append(line, "5m")...)
	if code, stdout, stderr := callTyping("n\n", append(line, "5m")...); code != 1 || stdout != "" || !strings.HasSuffix(stderr, "? [y/N] easyops: nothing was changed\n") {
		t.Errorf("code %d, %s, %s", code, stdout, stderr)
	}
	if got := levels(t); !slices.Equal(got, []string{"info", "info", "info"}) {
		t.Errorf("%v", got)
	}
	code, stdout, stderr := callTyping("y\n", append(line, "5m")...)
	if code != 0 || strings.Count(plain(stdout), level+" info debug in AGE") != 3 || !strings.Contains(stderr, "Change flags of 3 instances of "+echoService+"? [y/N] ") {
		t.Errorf("code %d, %s, %s", code, stdout, stderr)
	}
	expect(t, 0, "debug\n", "flags", "get", echoService, level)
	if text := plain(mustCall(t, "flags", "--changed", echoService)); !strings.Contains(text, level+" debug info enum yes operator to info in AGE all 3\n") {
		t.Error(text)
	}
	mustCall(t, append(line, "1s", "--yes")...) // the control: for a time is for a time
	for end := time.Now().Add(10 * time.Second); !slices.Equal(levels(t), []string{"info", "info", "info"}); {
		if time.Now().After(end) {
			t.Fatalf("%v after the end of the time", levels(t))
		}
	}
}

func TestFlagsOfOne(t *testing.T) {
	f := newFleet(t)
	a, b := f.add(), f.add()
	expect(t, 0, "FLAG OLD NEW BACK\neasyops.drain-delay 0s 1s -\neasyops.log-level info warn -\n", "flags", "set", a.Addr, level+"=warn", "easyops.drain-delay=1s", "--reason", "a b&c")
	expect(t, 0, "FLAG OLD NEW BACK\neasyops.log-level warn error -\n", "flags", "set", a.ID, level+"=error", "--dry-run")
	expect(t, 0, "warn\n", "flags", "get", a.ID, level)
	expect(t, 0, "FLAG VALUE SOURCE BACK\neasyops.log-level warn operator -\neasyops.drain-delay 1s operator -\n", "flags", "get", a.ID, level, "easyops.drain-delay")
	expect(t, 1, "easyops: "+a.ID+" at "+a.Addr+": it has no flag easyops.log-levl: did you mean easyops.log-level?\n", "flags", "get", a.ID, "easyops.log-levl")

	// Where instances differ it is said of each.
	text := plain(mustCall(t, "flags", echoService, "--filter", level))
	for _, want := range []string{level + " warn info enum yes operator - " + a.ID, level + " info info enum yes default - " + b.ID} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if text := plain(mustCall(t, "flags", "get", echoService, level)); !strings.HasPrefix(text, "INSTANCE FLAG VALUE") || !strings.Contains(text, a.ID+" "+level+" warn operator -") {
		t.Error(text)
	}
	for _, s := range []registry.Instance{a, b} {
		mustCall(t, "flags", "set", s.Addr, level+"=info")
	}
}

func TestFlagsSetWrongly(t *testing.T) {
	f := newFleet(t)
	a := f.add()
	f.add()
	for args, says := range map[string]string{
		"":                           "say what to change, as in: easyops flags set --service",
		a.Addr:                       "say what to change",
		a.Addr + " =x":               "has no name of a flag",
		a.Addr + " x=1 x=2":          "there are two values of x",
		a.Addr + " -- -ttl=5m":       "has no name of a flag",
		"x=1":                        "name a service or an instance",
		a.Addr + " x=1 --ttl 0s":     "it is a time such as",
		a.Addr + " x=1 --ttl --json": "it is a time such as",
	} {
		if code, _, stderr := call(append([]string{"flags", "set"}, strings.Fields(args)...)...); code != 2 && args != "x" || !strings.Contains(stderr, says) && !strings.Contains(stderr, "has no value") {
			t.Errorf("%s: code %d, %s", args, code, stderr)
		}
	}
	// None is changed where one of two values is wrong, at one or at all.
	for _, target := range []string{a.Addr, echoService} {
		code, stdout, stderr := call("flags", "set", "--yes", target, level+"=debug", "easyops.drain-delay=x")
		if code != 1 || stdout != "" || !strings.Contains(stderr, "nothing is changed: easyops.drain-delay") {
			t.Errorf("code %d, %s, %s", code, stdout, stderr)
		}
	}
	if code, _, stderr := call("flags", "set", a.Addr, "easyops.auth=x"); code != 1 || !strings.Contains(stderr, "easyops.auth") {
		t.Errorf("code %d, %s", code, stderr)
	}
	if got := levels(t); !slices.Equal(got, []string{"info", "info"}) {
		t.Errorf("%v", got)
	}
}

// half is an instance that takes dry runs, and fails in some way when it matters.
func half(fails http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("dry_run") {
			_, _ = io.WriteString(w, `{"changed":[{"name":"\u001b[2Jx","old":"1","new":"2"}]}`)
			return
		}
		fails(w, r)
	}
}

// One that refuses keeps all from being changed; one that fails half way those
// behind it, and it is said how far it came.
func TestFlagsSetThatFails(t *testing.T) {
	f := newFleet(t)
	var changed []string
	ok := func(id string) { // in the order of their IDs
		f.addFake(id, half(func(w http.ResponseWriter, r *http.Request) {
			changed = append(changed, id+" "+r.FormValue("x")+" "+r.URL.RawQuery)
			_, _ = io.WriteString(w, `{"changed":[{"name":"x","old":"1","new":"2"}]}`)
		}))
	}
	ok("a1")
	ok("a2")
	b := f.addFake("b", half(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	ok("c")
	code, stdout, stderr := call("flags", "set", "--yes", "--service", echoService, "x=2", "--reason", "why")
	if want := "INSTANCE FLAG OLD NEW BACK\na1 x 1 2 -\na2 x 1 2 -\n"; code != 1 || plain(stdout) != plain(want) {
		t.Errorf("code %d, %s", code, stdout)
	}
	for _, want := range []string{"b at " + b.Addr + ": ", ": whether it was done is not known\n", "c at ", ": not tried, as one before it failed\n"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("%q is missing in %s", want, stderr)
		}
	}
	if fmt.Sprint(changed) != "[a1 2 reason=why a2 2 reason=why]" {
		t.Error(changed)
	}
	if _, _, stderr := callTyping("n\n", "flags", "set", echoService, "x=2"); strings.Contains(stderr, "\x1b") || !strings.Contains(stderr, `\x1b[2Jx`) {
		t.Errorf("%q", stderr)
	}

	d := f.addFake("d", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":"nothing is changed: no"}`)
	})
	changed = nil
	expect(t, 1, "easyops: nothing was changed, as not all would take it:\nd at "+d.Addr+": nothing is changed: no\n", "flags", "set", "--yes", echoService, "x=2")
	doc := decode[parametersDocument](t, func() string {
		_, stdout, _ := call("flags", "set", "--dry-run", "--json", echoService, "x=2")
		return stdout
	}())
	if len(changed) > 0 || len(doc.Instances) != 5 || doc.Instances[4].Page != nil || doc.Instances[4].Error != "nothing is changed: no" || doc.Instances[4].Instance != "d" {
		t.Errorf("%v, %+v", changed, doc)
	}
}

// Whoever is no operator changes nothing, and reads nothing.
func TestFlagsAreForOperators(t *testing.T) {
	f := newFleet(t)
	f.addSecure(easyops.WithOperators("user:alice"))
	alice, bob := tempFile(t, easyopstest.UserToken("alice")), tempFile(t, easyopstest.UserToken("bob"))
	for _, args := range [][]string{
		{"flags"}, {"flags", "set", level + "=debug"}, {"cache"}, {"cache", "clear", "--yes"}, {"callers"}, {"conns"}, {"shutdown"}, {"open"},
	} {
		for file, says := range map[string]string{bob: "it does not take this from whom --token-file is of", "": "it does not know who asks"} {
			named := append(append([]string{}, args...), "--service", echoService)
			if file != "" {
				named = append(named, "--token-file", file)
			}
			if code, stdout, stderr := call(named...); code != 1 || stdout != "" || !strings.Contains(stderr, says) {
				t.Errorf("%v: code %d, %s, %s", named, code, stdout, stderr)
			}
		}
	}
	expect(t, 0, "FLAG OLD NEW BACK\neasyops.log-level info debug -\n", "flags", "set", "--service", echoService, "--token-file", alice, level+"=debug")
}
