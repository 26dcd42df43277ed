package main

import (
	"context"
	"log"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// samplesOf has the server as a function of the time says, in a run of 100 s.
func samplesOf(n int, server func(at float64) state) (list []sample) {
	for i := range n {
		at := 100 * float64(i+1) / float64(n)
		list = append(list, sample{Seconds: at, Server: server(at), Client: state{30, 100, 20}, Calls: i * 100})
	}
	return list
}

// goodRun is one with which nothing is wrong.
func goodRun(samples []sample) *result {
	r := &result{Time: 100 * time.Second, Rate: 500, Calls: counts{}, Operations: counts{}, Failures: counts{}, Restarts: []float64{50}, Samples: samples}
	for _, kind := range kindNames() {
		r.Calls[kind] = 5_000
	}
	for _, what := range operationNames {
		r.Operations[what] = 5
	}
	return r
}

func TestJudge(t *testing.T) {
	noise := rand.New(rand.NewPCG(3, 4))
	for _, c := range []struct {
		name   string
		server func(at float64) state
		grew   []string // beginnings of quantities
	}{
		{"flat", func(float64) state { return state{40, 100, 20} }, nil},
		{"noise", func(float64) state {
			return state{40 + 3*noise.NormFloat64(), 100 + 10*noise.NormFloat64(), 20 + 3*noise.NormFloat64()}
		}, nil},
		{"waves", func(at float64) state { s := math.Sin(at); return state{40 + 10*s, 100 + 30*s, 20 + 9*s} }, nil},
		{"fills in the warm-up", func(at float64) state { f := min(at, 20); return state{20 + 3*f, 10 * f, 5 * f} }, nil},
		{"shrinks", func(at float64) state { return state{140 - at, 200 - at, 120 - at} }, nil},
		{"more while servers are replaced", func(at float64) state {
			if int(at)%10 < 4+int(at/50) { // for somewhat longer later
				return state{44, 120, 26}
			}
			return state{40, 100, 20}
		}, nil},
		{"little", func(at float64) state { return state{40 + at/20, 100 + at/10, 20 + at/15} }, nil},
		{"memory", func(at float64) state { return state{40 + at/5, 100, 20} }, []string{"RSS"}},
		{"goroutines", func(at float64) state { return state{40, 100 + at/4, 20} }, []string{"goroutines"}},
		{"descriptors", func(at float64) state { return state{40, 100, 20 + at/8} }, []string{"file descriptors"}},
		{"late", func(at float64) state { return state{40 + max(0, at-70)*2, 100, 20} }, []string{"RSS"}},
	} {
		r := goodRun(samplesOf(100, c.server))
		r.judge()
		if len(r.Wrong) != len(c.grew) || (r.err() == nil) != (c.grew == nil) {
			t.Errorf("%s: %q", c.name, r.Wrong)
			continue
		}
		for i, quantity := range c.grew {
			if !strings.HasPrefix(r.Wrong[i], "grew: server, "+quantity) {
				t.Errorf("%s: %q, want %s", c.name, r.Wrong[i], quantity)
			}
		}
	}
}

// What is not flat is not all that can be wrong.
func TestJudgeRest(t *testing.T) {
	flat := samplesOf(60, func(float64) state { return state{40, 100, 20} })
	with := func(change func(*sample)) []sample {
		changed := slices.Clone(flat)
		change(&changed[40])
		return changed
	}
	for _, c := range []struct {
		want  string
		spoil func(*result)
		slow  bool // the machine may be the reason
	}{
		{"failed 2 times: unary: reason", func(r *result) { r.Failures["unary: reason"] = 2 }, false},
		{"code = DeadlineExceeded", func(r *result) { r.Failures["unary: rpc error: code = DeadlineExceeded desc = late"] = 1 }, true},
		{"did not end", func(r *result) { r.Failures["restart: server-3 did not end in 40s"] = 1 }, true},
		{`no call of the kind "client stream`, func(r *result) { delete(r.Calls, "client stream") }, false},
		{`no operation "unregistered"`, func(r *result) { delete(r.Operations, "unregistered") }, false},
		{"less than half of 500000", func(r *result) { r.Rate = 5_000 }, true},
		{"no server was restarted", func(r *result) { r.Restarts = nil }, false},
		{"less than 15", func(r *result) { r.Samples = flat[:14] }, true},
		{"there are 0 samples", func(r *result) { r.Samples = nil }, true},
		{"had not been read for 11 s", func(r *result) { r.Samples = with(func(s *sample) { s.Unread = 11 }) }, true},
		{"server, goroutines: there are none", func(r *result) { r.Samples = with(func(s *sample) { s.Server.Goroutines = 0 }) }, false},
	} {
		r := goodRun(flat)
		c.spoil(r)
		r.judge()
		if len(r.Wrong) != 1 || !strings.Contains(r.Wrong[0], c.want) || !strings.Contains(r.err().Error(), c.want) {
			t.Errorf("%q, want %q", r.Wrong, c.want)
			continue
		}
		if got := strings.Contains(r.err().Error(), tryAgain); got != c.slow {
			t.Errorf("%q: to be tried again is %v", c.want, got)
		}
	}
}

// What the machine is not the reason for is not tried again because something else
// was slow.
func TestTryAgain(t *testing.T) {
	r := goodRun(samplesOf(60, func(at float64) state { return state{40 + at, 100, 20} }))
	r.Rate = 5_000
	if r.judge(); len(r.Wrong) != 2 || strings.Contains(r.err().Error(), tryAgain) {
		t.Errorf("%q is tried again", r.Wrong)
	}
}

func TestSave(t *testing.T) {
	r := goodRun(samplesOf(60, func(at float64) state { return state{40, 100 + at, 20} }))
	r.judge()
	name := filepath.Join(t.TempDir(), "soak")
	if err := r.save(name); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{".json": `"Wrong": [`, ".svg": "<desc"} {
		text, _ := os.ReadFile(name + file)
		if !strings.Contains(string(text), want) || !strings.Contains(string(text), "grew: server, goroutines") {
			t.Errorf("%s does not say what is wrong", file)
		}
	}
	if !strings.Contains(r.text(), "| client | RSS, MiB | 30 | 30 | 37 |") {
		t.Errorf("the text is %s", r.text())
	}
}

// Where files are gone soon, what is printed has to do.
func TestDetails(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"server-0": "many\n" + strings.Repeat("0 goes on\n", 15), "server-1": "1 is quiet\n", "server-2": "time ERROR panic\n",
		"server-10": "10 was named\n", "client": "c calls",
	} {
		if err := os.WriteFile(filepath.Join(dir, name+".log"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := goodRun(samplesOf(100, func(float64) state { return state{40, 100, 20} }))
	r.Logs = dir
	if r.judge(); r.details() != "" {
		t.Errorf("of what is good there are %s", r.details())
	}
	r.wrong("failed 1 times: restart: server-10: it ended with exit status 2")
	text := r.details()
	for _, want := range []string{"| 1 | server | 40.0 | 100 | 20 | 0 | 0 |", "| 100 | client |", "10 was named", "ERROR panic", "0 goes on", "c calls"} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	for _, none := range []string{"1 is quiet", "many", "| 2 | server |"} {
		if strings.Contains(text, none) {
			t.Errorf("there is %q in\n%s", none, text)
		}
	}
}

func TestErrorsIn(t *testing.T) {
	dir := t.TempDir()
	const log = "2026/11/23 03:18:39 INFO serving\n2026/11/23 03:18:40 ERROR panic peer=127.0.0.1:1\n2026/11/23 03:18:41 ERROR panic peer=127.0.0.1:2\n"
	if err := os.WriteFile(filepath.Join(dir, "server-0.log"), []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	found := counts{}
	if err := errorsIn(dir, found); err != nil || found["log of a process: panic ADDR"] != 2 || found.sum() != 2 {
		t.Errorf("found %v, error %v", found, err)
	}
}

// A server logs by default what is found.
func TestErrorsOfServer(t *testing.T) {
	dir := t.TempDir()
	file, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	former := log.Writer()
	defer log.SetOutput(former)
	log.SetOutput(file)
	s, err := echov1.StartEchoServiceServer(faulty{}, easyops.WithFlags(nil), easyops.WithAddr("127.0.0.1:0"),
		easyops.WithRegistry("local:"+filepath.Join(dir, "registry")), easyops.WithInsecurePlaintext())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Shutdown(t.Context()) }() // it may have ended
	conn, err := grpc.NewClient(s.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	found := counts{}
	if err := errorsIn(dir, found); err != nil || found.sum() != 0 {
		t.Errorf("before there is one: found %v, error %v", found, err)
	}
	if _, err := echov1.NewEchoServiceClient(conn).Echo(t.Context(), &echov1.EchoRequest{}); status.Code(err) != codes.Internal {
		t.Errorf("the error is %v", err)
	}
	if err := s.Shutdown(t.Context()); err != nil { // so that all is written
		t.Error(err)
	}
	if err := errorsIn(dir, found); err != nil || found.sum() != 1 {
		t.Errorf("found %v, error %v", found, err)
	}
}

type faulty struct {
	echov1.UnimplementedEchoServiceServer
}

func (faulty) Echo(context.Context, *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	return nil, status.Error(codes.Internal, "a fault")
}

func TestMiddle(t *testing.T) {
	for want, values := range map[float64][]float64{
		1: {1}, 2: {1, 3}, 3: {1, 2, 4, 100}, 4: {900, 4, 3, 5, 0}, 15: {10, 10, 10, 10, 20, 20, 20, 20},
	} {
		if got := middle(values); math.Abs(got-want) > 1e-9 {
			t.Errorf("the middle of %v is %v, want %v", values, got, want)
		}
	}
}

func TestCounts(t *testing.T) {
	c := counts{}
	for i := range 3 * mostCounts {
		c.add(string(rune('a' + i)))
	}
	if len(c) != mostCounts+1 || c.sum() != 3*mostCounts {
		t.Errorf("%d counts of %d", len(c), c.sum())
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{time.Hour: "1h", 5 * time.Minute: "5m", 90 * time.Second: "1m30s", 10 * time.Second: "10s", 90 * time.Minute: "1h30m"} {
		if got := short(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
