//go:build real

package monitoring

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
)

// promtool runs Debian's, and returns what it says.
func promtool(t *testing.T, stdin []byte, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("promtool is missing: run .ci/parts")
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// TestCheckMetrics: promtool has nothing to say of names, help texts and units.
func TestCheckMetrics(t *testing.T) {
	f := start(t)
	client, _ := f.dial(t)
	for _, what := range []string{"", "panic", "fault"} {
		_, _ = client.Echo(t.Context(), &echov1.EchoRequest{Message: what})
	}
	body, _ := f.scrape(t, "/metrics", acceptText)
	if out, err := promtool(t, body, "check", "metrics"); err != nil || out != "" {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}

	wrong := []byte("# HELP calls_count How many.\n# TYPE calls_count counter\ncalls_count 1\n")
	if out, err := promtool(t, wrong, "check", "metrics"); err == nil {
		t.Errorf("promtool takes a counter without _total: %s", out)
	}
}

// cases are the files of what the rules say when.
var cases = []string{"alerts_test.yml", "alerts_certificates_test.yml"}

func in(dir string, names []string) (paths []string) {
	for _, n := range names {
		paths = append(paths, filepath.Join(dir, n))
	}
	return paths
}

// TestRules: promtool reads the rules, and what they say in the cases is right.
func TestRules(t *testing.T) {
	if out, err := promtool(t, nil, "check", "rules", filepath.Join(docs, "alerts.yml")); err != nil {
		t.Errorf("promtool check rules: %v\n%s", err, out)
	}
	if out, err := promtool(t, nil, "check", "config", "--syntax-only", filepath.Join(docs, "prometheus.yml")); err != nil {
		t.Errorf("promtool check config: %v\n%s", err, out)
	}
	if out, err := promtool(t, nil, append([]string{"test", "rules"}, in(docs, cases)...)...); err != nil {
		t.Errorf("promtool test rules: %v\n%s", err, out)
	}
}

// TestEachAlertIsTested: the cases fail without any one of the alerts.
func TestEachAlertIsTested(t *testing.T) {
	rules := read(t, "alerts.yml")
	alerts := regexp.MustCompile(`(?m)^      - alert: (\w+)\n        expr: (\|\n(          .*\n)+|.*\n)`).FindAllStringSubmatchIndex(rules, -1)
	if len(alerts) < 10 {
		t.Fatalf("%d alerts", len(alerts))
	}
	for _, at := range alerts {
		t.Run(rules[at[2]:at[3]], func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, name := range cases {
				write(t, filepath.Join(dir, name), read(t, name))
			}
			write(t, filepath.Join(dir, "alerts.yml"), rules[:at[4]]+"vector(0) > 1\n"+rules[at[5]:])
			if out, err := promtool(t, nil, append([]string{"test", "rules"}, in(dir, cases)...)...); err == nil || !strings.Contains(out, "FAILED") {
				t.Errorf("no case needs the alert: %v\n%s", err, out)
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestExpressions: promtool can read those of the dashboard, with values for its
// variables. It has no command for dashboards, so they become rules.
func TestExpressions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules.yml")
	rules := func(exprs []string) string {
		text := "groups:\n- name: dashboard\n  rules:\n"
		for i, expr := range exprs {
			text += fmt.Sprintf("  - {record: 'dashboard:%d', expr: '%s'}\n", i, strings.ReplaceAll(expr, "$__rate_interval", "5m"))
		}
		return text
	}
	write(t, path, rules(dashboardExprs(t)))
	if out, err := promtool(t, nil, "check", "rules", path); err != nil {
		t.Errorf("promtool check rules: %v\n%s", err, out)
	}
	write(t, path, rules([]string{"sum(up"}))
	if out, err := promtool(t, nil, "check", "rules", path); err == nil {
		t.Errorf("promtool takes an expression that has no end: %s", out)
	}
}
