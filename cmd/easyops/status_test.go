package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/easyopstest"
	"github.com/go-easyops/easyops/runtime/registry"
)

const statusHeader = "INSTANCE ADDRESS LISTED HEALTH PROBLEMS FAILING UP BUILD REVISION RUNTIME GO\n"

// statuses is the JSON of easyops status.
type statuses struct {
	Version   int      `json:"version"`
	Instances []report `json:"instances"`
}

func TestStatus(t *testing.T) {
	f := newFleet(t)
	a := f.add()
	got := decode[statuses](t, mustCall(t, "status", "--json", echoService))
	rep := got.Instances[0]
	if got.Version != 1 || len(got.Instances) != 1 || rep.Instance != a.ID || rep.Addr != a.Addr || rep.Listed != "READY" ||
		rep.Error != "" || rep.Problems == nil || len(rep.Problems) > 0 || rep.Health.State != "READY" || rep.Info.Instance != a.ID || rep.Info.GoVersion == "" {
		t.Errorf("%+v", rep)
	}
	v := rep.Info
	row := strings.Join([]string{a.ID, a.Addr, "READY READY none - 0s", dash(v.BuildVersion), dash(revision(v)), dash(v.RuntimeVersion), v.GoVersion}, " ") + "\n"
	for _, arg := range []string{echoService, a.ID, a.ID[:5], a.Addr} {
		expect(t, 0, statusHeader+row, "status", arg)
	}
	expect(t, 1, "easyops: no service or instance echo.v1 is listed in the local registry in "+f.url[len("local:"):]+": did you mean echo.v1.EchoService?\n", "status", "echo.v1")
	expect(t, 2, "easyops: address \"127.0.0.1:0\": the port must be 1 to 65535\n", "status", "127.0.0.1:0")
}

// An answer is one whatever it says.
func TestStatusOfAnInstanceThatIsNotReady(t *testing.T) {
	f := newFleet(t)
	f.add(easyops.WithCheck("disk", func(context.Context) error { return errors.New("full") }),
		easyops.WithCheck("net", func(context.Context) error { return nil }))
	f.waitFor(echoService, func(list []registry.Instance) bool { return len(list) == 1 && list[0].Health == registry.NotReady })
	text := plain(mustCall(t, "status", echoService))
	for _, want := range []string{" NOT_READY NOT_READY 2 wrong disk AGE ", "\nwrong NOT_READY: ", "\nwrong check disk: full"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	got := decode[statuses](t, mustCall(t, "status", "--json", echoService)).Instances[0].Problems
	if len(got) != 2 || got[1].Level != "bad" || got[1].What != "check disk" || got[1].Why != "full" || got[1].Link != "#health" {
		t.Errorf("%+v", got)
	}
}

func TestStatusOfAnInstanceThatDoesNotAnswer(t *testing.T) {
	f := newFleet(t)
	a := f.add()
	gone, silent, pageless := entry("gone", echoService), entry("silent", echoService), entry("pageless", echoService)
	gone.Addr, silent.Addr = unused(t), mute(t)
	pageless.Kinds = pageless.Kinds[:1]
	for _, i := range []registry.Instance{gone, silent, pageless} {
		f.list(i)
	}
	code, stdout, stderr := call("status", "--timeout", "1s", echoService)
	for _, want := range []string{
		a.ID + " " + a.Addr + " READY READY none - ", "gone " + gone.Addr + " READY no answer - - - - - - -", "pageless - READY - ", "silent " + silent.Addr + " READY no answer - ",
	} {
		if !strings.Contains(plain(stdout), want) {
			t.Errorf("%q is missing in\n%s", want, stdout)
		}
	}
	for _, want := range []string{gone.Addr + ": dial tcp", "refused", silent.Addr + ": no answer in time", "pageless: it has no status API"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("%q is missing in\n%s", want, stderr)
		}
	}
	if code != 1 {
		t.Errorf("code %d", code)
	}
}

// Another server came to the address of one that is gone.
func TestStatusOfAnotherServer(t *testing.T) {
	f := newFleet(t)
	a := f.add()
	old := entry("old", echoService)
	old.Addr = a.Addr
	f.list(old)
	code, _, stderr := call("status", "old")
	if want := "is instance " + a.ID + " now, and not old"; code != 1 || !strings.Contains(stderr, want) {
		t.Errorf("code %d, %s", code, stderr)
	}
	code, _, stderr = call("drain", "old")
	if want := "is instance " + a.ID + " now, and not old"; code != 1 || !strings.Contains(stderr, want) {
		t.Errorf("code %d, %s", code, stderr)
	}
	if list := f.waitFor(echoService, func(l []registry.Instance) bool { return true }); len(list) != 2 {
		t.Errorf("the other one was drained: %v", list)
	}
}

// unused is an address that nobody listens at.
func unused(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// mute is one where nothing is ever answered.
func mute(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func TestStatusWithATokenOnly(t *testing.T) {
	f := newFleet(t)
	a := f.addSecure(easyops.WithOperators("user:alice"))
	alice, bob := tempFile(t, easyopstest.UserToken("alice")+"\n"), tempFile(t, easyopstest.UserToken("bob"))
	if text := mustCall(t, "status", "--token-file", alice, echoService); !strings.Contains(plain(text), a.ID+" "+a.Addr+" READY READY none - AGE ") {
		t.Error(text)
	}
	for _, test := range []struct {
		args []string
		says string
	}{
		{nil, a.Addr + ": it does not know who asks: --token-file names the token of an operator, --cert and --key a certificate: "},
		{[]string{"--token-file", bob}, a.Addr + ": it does not take this from whom --token-file is of: "},
		{[]string{"--token-file", tempFile(t, "x.y.z")}, a.Addr + ": it does not know who asks: --token-file names"},
	} {
		code, stdout, stderr := call(append([]string{"status", echoService}, test.args...)...)
		if code != 1 || !strings.Contains(stderr, test.says) || !strings.Contains(plain(stdout), "READY READY - - - -") {
			t.Errorf("%q: code %d\n%s\n%s", test.args, code, stdout, stderr)
		}
	}
	for file, says := range map[string]string{"nowhere": "--token-file: ", tempFile(t, "a b"): "it holds more than a token", tempFile(t, ""): "it is empty"} {
		if code, stdout, stderr := call("status", echoService, "--token-file", file); code != 1 || stdout != "" || !strings.Contains(stderr, says) {
			t.Errorf("code %d, %s, %s", code, stdout, stderr)
		}
	}
}

func TestFaultsOfOneReasonStandTogether(t *testing.T) {
	err := faults([]report{{Addr: "a", Error: "x"}, {Addr: "b"}, {Addr: "c", Error: "y"}, {Addr: "d", Error: "x"}, {Instance: "e", Error: "x"}})
	if err == nil || err.Error() != "a, d, e: x\nc: y" {
		t.Errorf("%v", err)
	}
	if err := faults([]report{{Addr: "a"}}); err != nil {
		t.Error(err)
	}
}

// Without an argument all are asked, each once.
func TestStatusOfAll(t *testing.T) {
	f := newFleet(t)
	expect(t, 1, "easyops: nothing is listed in the local registry in "+f.url[len("local:"):]+"\n", "status")
	a, b := f.add(), f.add(easyops.WithCheck("disk", func(context.Context) error { return errors.New("full") }))
	other := a
	other.Service = greeterService
	f.list(other)
	got := decode[statuses](t, mustCall(t, "status", "--json")).Instances
	var ids []string
	for _, rep := range got {
		ids = append(ids, rep.Instance)
	}
	slices.Sort(ids)
	want := []string{a.ID, b.ID}
	slices.Sort(want)
	if !slices.Equal(ids, want) {
		t.Errorf("%q, want %q", ids, want)
	}
	if code, _, stderr := call("status", a.ID, b.ID); code != 2 || !strings.Contains(stderr, "name one service or instance") {
		t.Errorf("code %d, %s", code, stderr)
	}
}

// A server that is older has no overview, or one that lists no problems.
func TestStatusOfAnOlderServer(t *testing.T) {
	for _, c := range []struct {
		code        int
		body, cells string
		fails       bool
	}{
		{http.StatusNotFound, `{"error":"there is no such page"}`, " READY - - AGE ", false},
		{http.StatusOK, `{"name":"x"}`, " READY - - AGE ", false},
		{http.StatusOK, `{"problems":[]}`, " READY none - AGE ", false},
		{http.StatusOK, `{"problems":[{"level":"warn","what":"a\u001b[2J","why":"b"}]}`, " READY 1 to look at - AGE ", false},
		{http.StatusInternalServerError, `{"error":"no disk"}`, " READY - - AGE ", true},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case healthPage:
				_, _ = w.Write([]byte(`{"state":"READY","checks":[]}`))
			case versionPage:
				_, _ = w.Write([]byte(`{"instance":"i-1"}`))
			default:
				w.WriteHeader(c.code)
				_, _ = w.Write([]byte(c.body))
			}
		}))
		newFleet(t)
		code, stdout, stderr := call("status", s.Listener.Addr().String())
		if !strings.Contains(plain(stdout), c.cells) || (code != 0) != c.fails || strings.Contains(stdout, "\x1b") {
			t.Errorf("%s: code %d\n%s\n%s", c.body, code, stdout, stderr)
		}
		s.Close()
	}
}
