package easyops_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/status"
)

const parametersPath = "/internal/parameters"

// setParameters posts a form and returns the answer.
func setParameters(t *testing.T, base, query string, pairs ...string) (int, string) {
	t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	resp, err := http.PostForm(base+parametersPath+query, form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	return resp.StatusCode, string(body)
}

func mustSet(t *testing.T, base string, pairs ...string) {
	t.Helper()
	if code, body := setParameters(t, base, "", pairs...); code != http.StatusOK {
		t.Fatal(code, body)
	}
}

// parameterNow is what the page says of a flag.
func parameterNow(t *testing.T, base, name string) status.Parameter {
	t.Helper()
	_, body := get(t, base+parametersPath+"?format=json&name="+name)
	var d status.ParametersData
	if err := json.Unmarshal([]byte(body), &d); err != nil || len(d.Parameters) != 1 {
		t.Fatal(err, body)
	}
	return d.Parameters[0]
}

// TestAccessLogSampleIsDynamic: from none to each, and back.
func TestAccessLogSampleIsDynamic(t *testing.T) {
	for _, c := range []struct {
		from  int
		to    string
		lines int
	}{{0, "1", 10}, {1, "0", 0}} {
		var l logs
		s := startEcho(t, easyops.WithLogger(l.logger()), easyops.WithAccessLogSample(c.from))
		client, conn, err := echov1.DialEchoService(s.Client())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if code, body := setParameters(t, local(s.Server), "", "easyops.access-log-sample", "-1"); code != 400 || !strings.Contains(body, "write it like 100") {
			t.Error(code, body)
		}
		mustSet(t, local(s.Server), "easyops.access-log-sample", c.to)
		for range 10 {
			if _, err := client.Echo(t.Context(), &echov1.EchoRequest{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		if n := len(l.with(t, "call")); n != c.lines {
			t.Errorf("%d of 10 calls are logged, want %d", n, c.lines)
		}
	}
}

// TestDrainDelayIsDynamic: the delay that is in force when the stop begins counts.
func TestDrainDelayIsDynamic(t *testing.T) {
	var l logs
	s := startEcho(t, easyops.WithLogger(l.logger()))
	base := local(s.Server)
	if p := parameterNow(t, base, "easyops.drain-delay"); p.Value != "0s" || p.Default != "0s" || !p.Dynamic {
		t.Errorf("%+v", p)
	}
	code, body := setParameters(t, base, "", "easyops.drain-delay", "24s", "easyops.log-level", "debug")
	if code != 400 || !strings.Contains(body, "easyops.drain-delay: ") || parameterNow(t, base, "easyops.log-level").Source != "default" {
		t.Error(code, body)
	}
	mustSet(t, base, "easyops.drain-delay", "20ms")
	if p := parameterNow(t, base, "easyops.drain-delay"); p.Value != "20ms" || p.Source != "operator" {
		t.Errorf("%+v", p)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	lines := l.with(t, "serving on until clients have noticed")
	if len(lines) != 1 || lines[0]["duration"] != float64(20*time.Millisecond) {
		t.Error(lines)
	}
}

// TestLogLevelIsDynamic: for a time, and for this server alone.
func TestLogLevelIsDynamic(t *testing.T) {
	s, other := startEcho(t), startEcho(t)
	code, body := setParameters(t, local(s.Server), "?ttl=1&reason=look", "easyops.log-level", "warn")
	if code != http.StatusOK {
		t.Fatal(code, body)
	}
	if p := parameterNow(t, local(s.Server), "easyops.log-level"); p.Value != "warn" || p.Reverts.IsZero() {
		t.Errorf("%+v", p)
	}
	before := parameterNow(t, local(other.Server), "easyops.log-level")
	if before.Source != "default" {
		t.Errorf("%+v", before)
	}
	for end := time.Now().Add(5 * time.Second); parameterNow(t, local(s.Server), "easyops.log-level").Value != before.Value; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not go back")
		}
	}
	_, page := get(t, local(s.Server)+parametersPath)
	mustContain(t, page, "revert", "look")
}
