//go:build real

package conformance

import (
	"bytes"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/go-easyops/easyops/test/serve"
)

func TestMain(m *testing.M) { serve.Main(m) }

// announced is why cases over TLS may fail. The runner's client offers HTTP/1.1
// beside HTTP/2 there, so net/http serves it and grpc-go's ServeHTTP announces
// its trailers in a header. Where this client gives up a response before its
// end, it takes what was announced for trailers that came without a status.
// grpc-go behind net/http alone fails in the same way.
const announced = "the client misreads announced trailers of a response that it gave up"

// known are the cases that may fail though they pass with grpc-go alone.
var known = []struct {
	name *regexp.Regexp
	why  string
}{
	{regexp.MustCompile(`^Timeouts/.*/TLS:true/`), announced},
	{regexp.MustCompile(`^gRPC Unexpected Requests/.*/TLS:true/unexpected-codec$`), announced},
	{
		regexp.MustCompile(`^Unexpected Requests/.*/unexpected-content-type$`),
		"what is not gRPC is plain HTTP, and no HTTP handler has the path: 404, not 415",
	},
}

func whyKnown(name string) string {
	for _, k := range known {
		if k.name.MatchString(name) {
			return k.why
		}
	}
	return ""
}

// TestServer: what passes with grpc-go alone passes with a server that is
// started through generated code.
func TestServer(t *testing.T) {
	adapter := serve.Build(t, "github.com/go-easyops/easyops/test/conformance/adapter")
	alone, ours := run(t, adapter, "grpc"), run(t, adapter, "easyops")
	if alone.total != ours.total {
		t.Errorf("%s cases with grpc-go alone, %s with easyops", alone.total, ours.total)
	}
	for name, how := range ours.failed {
		if _, too := alone.failed[name]; too {
			continue
		}
		if why := whyKnown(name); why != "" {
			t.Logf("known: %s: %s", name, why)
			continue
		}
		t.Errorf("%s passes with grpc-go alone and not with easyops\n%s", name, how)
	}
	if t.Failed() {
		t.Logf("the log of easyops:\n%s", ours.log)
	}
}

// results are what the runner says of a server.
type results struct {
	total  string
	failed map[string]string // how, by the names of the cases
	log    string
}

var totalLine = regexp.MustCompile(`(?m)^Total cases: ([1-9]\d*)\n(\d+ passed, \d+ failed)`)

// run runs all cases against the adapter with one way to serve. It fails the
// test where the runner does not come to its end.
func run(t *testing.T, adapter, by string) results {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "tool", "-modfile=../../.tools/conformance.mod", "connectconformance",
		"--mode=server", "--conf=config.yaml", "--", adapter, "-by="+by)
	cmd.Env = serve.Environment()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run() // 1 where a case failed: the report says which
	total := totalLine.FindStringSubmatch(stdout.String())
	if total == nil {
		t.Fatalf("the runner with -by=%s: %v\n%s%s", by, err, &stdout, &stderr)
	}
	t.Logf("%s: %s cases, %s", by, total[1], total[2])
	return results{total[1], failures(stdout.String()), stderr.String()}
}

// failures reads a report: the name of a case that failed stands in a line of
// its own, and how it failed in indented lines behind it.
func failures(report string) map[string]string {
	failed := map[string]string{}
	name := ""
	for line := range strings.Lines(report) {
		if after, ok := strings.CutPrefix(line, "FAILED: "); ok {
			name = strings.TrimSuffix(after, ":\n")
			failed[name] = ""
		} else if strings.HasPrefix(line, "\t") && name != "" {
			failed[name] += line
		}
	}
	return failed
}

func TestFailures(t *testing.T) {
	got := failures("FAILED: A/b c:\n\tone\n\ttwo\nFAILED: D:\n\tthree\n\nTotal cases: 3\n1 passed, 2 failed\n")
	if len(got) != 2 || got["A/b c"] != "\tone\n\ttwo\n" || got["D"] != "\tthree\n" {
		t.Errorf("%q", got)
	}
	if whyKnown("Basic/TLS:true/unary") != "" {
		t.Error("every case is known to fail")
	}
}
