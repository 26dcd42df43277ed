//go:build real

package browser

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/easyopstest"
	"github.com/go-easyops/easyops/runtime/flags"
	"github.com/go-easyops/easyops/test/access/routes"
)

// What a server may have to show, and what a page may cost then.
const (
	manyConnections = 10_000
	manyCallers     = 1_024
	manyFlags       = 500

	pageTime  = 50 * time.Millisecond
	pageBytes = 1_000_000
)

// TestLimits: with as much as a server can have to show, each page comes in time
// and in bounds.
func TestLimits(t *testing.T) {
	fs := flag.NewFlagSet("limits", flag.PanicOnError)
	easyops.RegisterFlags(fs)
	for i := range manyFlags {
		flags.New(fmt.Sprintf("limits.flag-%03d", i), i, "one of many flags, with a sentence on what it is for and in which unit", flags.In(fs))
	}
	s := easyopstest.Start(t, []easyops.Service{echov1.BindEchoServiceServer(echo{})}, easyops.WithFlags(fs),
		easyops.WithLogger(slog.New(slog.DiscardHandler)), easyops.WithOperators("user:root"))
	addr := s.Addr().String()
	call(t, addr)
	connect(t, addr)

	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	base := "http://" + addr
	get := routes.ByClient(&http.Client{Transport: tr, Timeout: time.Minute}, base, http.Header{"Authorization": {"Bearer " + easyopstest.UserToken("root")}})
	all, err := routes.Of(get)
	if err != nil {
		t.Fatal(err)
	}
	checkMany(t, get)
	for _, r := range all {
		if !r.Answers(http.MethodGet) || strings.Contains(r.Path, "{") || strings.HasPrefix(r.Path, "/internal/debug/") && !r.Shown {
			continue // profiles are as long as what they show
		}
		for _, accept := range []string{"text/html", "application/json", "text/plain"} {
			for _, query := range []string{"", "?limit=10000"} {
				if query != "" && !strings.Contains(r.Path, "grpc-") && !strings.HasSuffix(r.Path, "parameters") {
					continue
				}
				measure(t, get, r.Path+query, accept)
			}
		}
	}
}

// measure wants a page in time and in bounds.
func measure(t *testing.T, get routes.Get, path, accept string) {
	t.Helper()
	var times []time.Duration
	size := 0
	for i := range 11 {
		begin := time.Now()
		code, body, err := get(path, accept)
		if err != nil || code != http.StatusOK {
			t.Errorf("%s: %d %v: %.200s", path, code, err, body)
			return
		}
		if size = max(size, len(body)); i > 0 {
			times = append(times, time.Since(begin))
		}
	}
	slices.Sort(times)
	best, median := times[0], times[len(times)/2]
	t.Logf("%6.1f ms (median %6.1f) %8d bytes  %s %s", best.Seconds()*1000, median.Seconds()*1000, size, path, accept)
	if best > pageTime*slower { // the median is of the machine and of who else is at work there
		t.Errorf("%s as %s takes %v at best, want at most %v", path, accept, best, pageTime*slower)
	}
	if size > pageBytes {
		t.Errorf("%s as %s has %d bytes, want at most %d", path, accept, size, pageBytes)
	}
}

// checkMany: the pages know of all that there is.
func checkMany(t *testing.T, get routes.Get) {
	t.Helper()
	for path, want := range map[string]int{
		"/internal/service-info/grpc-callers": manyCallers, "/internal/parameters": manyFlags,
	} {
		var d struct{ Total int }
		_, body, err := get(path, "application/json")
		if err != nil {
			t.Fatal(err)
		}
		if decode(t, body, &d); d.Total < want {
			t.Errorf("%s lists %d, want %d", path, d.Total, want)
		}
	}
	var d struct{ Connections int }
	_, body, err := get("/internal/", "application/json")
	if err != nil {
		t.Fatal(err)
	}
	if decode(t, body, &d); d.Connections < manyConnections {
		t.Errorf("the overview has %d connections, want %d", d.Connections, manyConnections)
	}
}

// call calls as many callers, and some more for whom there is no room.
func call(t *testing.T, addr string) {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := echov1.NewEchoServiceClient(conn)
	for i := range manyCallers + 100 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+easyopstest.ServiceToken(fmt.Sprintf("service-%04d", i)))
		if _, err := client.Echo(ctx, &echov1.EchoRequest{Message: "hi"}); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
}

// connect opens as many connections that speak HTTP/2 and stay, from a process of
// its own: one alone may have too few files for both ends.
func connect(t *testing.T, addr string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), holdEnv+"="+addr)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "open\n" {
		t.Fatalf("%q %v", line, err)
	}
}

const holdEnv = "EASYOPS_TEST_HOLD" // in the process that holds connections to an address

// hold is that process.
func hold(addr string) error {
	conns := make([]net.Conn, 0, manyConnections)
	for i := range manyConnections {
		// No address has more connections than a server takes of one.
		from := net.IPv4(127, 0, 1, byte(1+i/2000))
		c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}).Dial("tcp", addr)
		if err != nil {
			return fmt.Errorf("connection %d: %w; ulimit -n must be %d", i, err, manyConnections+1000)
		}
		conns = append(conns, c)
		if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
			return err
		}
		if err := http2.NewFramer(c, nil).WriteSettings(); err != nil {
			return err
		}
	}
	fmt.Println("open")
	_, err := io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(conns)
	return err
}

func TestMain(m *testing.M) {
	if addr := os.Getenv(holdEnv); addr != "" {
		if err := hold(addr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}
