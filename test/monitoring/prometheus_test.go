//go:build real

package monitoring

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/test/serve"
)

// patience is how long a Prometheus may take to start, and to scrape thrice.
const patience = 60 * time.Second

// prometheus is Debian's, with a configuration and a data directory of its own.
type prometheus struct {
	t    *testing.T
	addr string
	log  *os.File
}

// startPrometheus starts it with the jobs of a configuration, and ends it with the
// test.
func startPrometheus(t *testing.T, jobs string, flags ...string) *prometheus {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	rules, err := filepath.Abs(filepath.Join(docs, "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	text := "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n" +
		"rule_files: ['" + rules + "']\nscrape_configs:\n" + jobs
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	p := &prometheus{t: t, addr: serve.FreeAddr(t), log: log}
	cmd := exec.Command("prometheus", append([]string{
		"--config.file=" + config, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + p.addr,
	}, flags...)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: run .ci/parts", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		log.Close()
	})
	return p
}

// sample is a series in the answer to a query.
type sample struct {
	Metric map[string]string `json:"metric"`
	Value  []any             `json:"value"` // time and value
}

// query asks for the value of an expression now.
func (p *prometheus) query(expr string) ([]sample, error) {
	var data struct{ Result []sample }
	err := p.get("query?query="+url.QueryEscape(expr), &data)
	return data.Result, err
}

// get asks the API.
func (p *prometheus) get(path string, data any) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := client.Get("http://" + p.addr + "/api/v1/" + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Error string
		Data  json.RawMessage
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Error != "" {
		return fmt.Errorf("%s: %s", path, answer.Error)
	}
	return json.Unmarshal(answer.Data, data)
}

// await waits until an expression has one value that is good, and returns it.
func (p *prometheus) await(expr string, good func(float64) bool) float64 {
	p.t.Helper()
	var last any
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		all, err := p.query(expr)
		last = fmt.Sprint(all, err)
		if len(all) != 1 || len(all[0].Value) != 2 {
			continue
		}
		text, _ := all[0].Value[1].(string)
		if v, err := strconv.ParseFloat(text, 64); err == nil && good(v) {
			return v
		}
	}
	log, _ := os.ReadFile(p.log.Name())
	p.t.Fatalf("%s: %v\n%s", expr, last, log)
	return 0
}

// job is a scrape configuration of a server, which it knows by its service as
// docs/monitoring/prometheus.yml does, with further TLS settings.
func (f *fixture) job(name, tls, more string) string {
	return fmt.Sprintf("- {job_name: %s, scheme: https, static_configs: [{targets: ['%s']}], tls_config: {server_name: %s, ca_file: '%s'%s}%s}\n",
		name, f.server.Addr(), service, f.scraper.ca, tls, more)
}

// by is the TLS setting of who has a certificate.
func by(c certificate) string { return fmt.Sprintf(", cert_file: '%s', key_file: '%s'", c.cert, c.key) }

// bearer is the setting of who has a token.
func bearer(file string) string {
	return fmt.Sprintf(", authorization: {credentials_file: '%s'}", file)
}

func is(want float64) func(float64) bool { return func(v float64) bool { return v == want } }

// callOn calls until the function is called that it returns, which returns how many
// of the calls were slow and ended well; others fail.
func callOn(t *testing.T, client echov1.EchoServiceClient) func() int {
	done, calls := make(chan struct{}), make(chan int)
	go func() {
		for n := 0; ; {
			for _, what := range []string{"fault", "panic", "slow"} {
				if _, err := client.Echo(t.Context(), &echov1.EchoRequest{Message: what}); err == nil {
					n++
				}
			}
			select {
			case <-done:
				calls <- n
				return
			default:
			}
		}
	}()
	return func() int {
		close(done)
		return <-calls
	}
}

// checkDashboard asks for all that the dashboard shows, and wants something for
// each; not at once, because after a scrape that fails there is nothing.
func (p *prometheus) checkDashboard() {
	p.t.Helper()
	values := strings.NewReplacer("$__rate_interval", "10s", "$job", "operator", "$instance", ".*", "$method", ".*")
	for _, expr := range dashboardExprs(p.t) {
		all, err := p.query(values.Replace(expr))
		if strings.HasPrefix(expr, "changes(") && err == nil {
			continue // nothing was started again
		}
		for end := time.Now().Add(patience); len(all) == 0 && err == nil && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			all, err = p.query(values.Replace(expr))
		}
		if err != nil || len(all) == 0 {
			p.t.Errorf("%s: %d values, %v", expr, len(all), err)
		}
	}
}

// checkRules looks for rules that could not be evaluated.
func (p *prometheus) checkRules() {
	p.t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	if err := p.get("rules", &data); err != nil {
		p.t.Fatal(err)
	}
	n := 0
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			n++
			if r.Health != "ok" {
				p.t.Errorf("%s: %s %s", r.Name, r.Health, r.LastError)
			}
		}
	}
	if n < 15 {
		p.t.Errorf("%d rules", n)
	}
}

// TestPrometheus: a Prometheus that has a certificate or a token of an operator's
// gets the metrics, with native histograms where it wants them; others get none.
func TestPrometheus(t *testing.T) {
	f := start(t)
	client, _ := f.dial(t)
	jobs := f.job("operator", by(f.scraper), "") + f.job("token", "", bearer(f.token(t, operator))) +
		f.job("nobody", "", "") + f.job("stranger", by(f.issue(t, "stranger")), "") + f.job("strange-token", "", bearer(f.token(t, "stranger")))

	stop := callOn(t, client)
	native := startPrometheus(t, jobs, "--enable-feature=native-histograms")
	classic := startPrometheus(t, jobs)
	for _, p := range []*prometheus{native, classic} {
		for job, up := range map[string]float64{"operator": 1, "token": 1, "nobody": 0, "stranger": 0, "strange-token": 0} {
			p.await(`up{job="`+job+`"}`, is(up))
		}
		p.await(`easyops_ready{job="operator"}`, is(1))
	}

	slow := func(v float64) bool { return v >= 0.030*0.9 && v < 0.2 }
	const series = `grpc_server_call_duration_seconds{job="operator",grpc_method="echo.v1.EchoService/Echo",grpc_status="OK"}`
	bucket := strings.Replace(series, "_seconds{", "_seconds_bucket{", 1)
	v := native.await(`histogram_quantile(0.5, rate(`+series+`[10s]))`, slow)
	t.Logf("half of the calls take %v s by the exponential buckets", v)
	v = classic.await(`histogram_quantile(0.5, rate(`+bucket+`[10s]))`, slow)
	t.Logf("half of the calls take %v s by those of gRFC A66", v)
	if all, err := classic.query(series); err != nil || len(all) != 0 {
		t.Errorf("a Prometheus that wants no native histograms has some: %v, %v", all, err)
	}

	for _, p := range []*prometheus{native, classic} {
		p.checkDashboard()
		p.checkRules()
	}

	n := stop()
	native.await(`histogram_count(`+series+`)`, is(float64(n)))
	classic.await(strings.Replace(series, "_seconds{", "_seconds_count{", 1), is(float64(n)))
}
