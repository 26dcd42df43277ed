package easyops_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"testing"
	"time"

	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/registry"
)

// board is a registry of several machines: its URL has hosts.
type board struct{ listed chan registry.Instance }

// open returns a URL of the registry at the hosts.
func (b *board) open(hosts string) string {
	b.listed = make(chan registry.Instance, 100)
	scheme := fmt.Sprint("board-", watchedRegistries.Add(1))
	registry.RegisterDriver(scheme, func(string, *slog.Logger) (registry.Registry, error) { return b, nil })
	return scheme + "://" + hosts + "/prefix?key=value"
}

func (b *board) Register(ctx context.Context, all []registry.Instance) (registry.Lease, error) {
	l := pinned{b}
	return l, l.Update(ctx, all)
}

func (b *board) Watch(ctx context.Context, _ string, _ func([]registry.Instance, error)) {
	<-ctx.Done()
}

func (b *board) LastAnswer() time.Time { return time.Now() }
func (b *board) String() string        { return "board" }
func (b *board) Close() error          { return nil }

// pinned is a lease of it.
type pinned struct{ board *board }

func (p pinned) Update(_ context.Context, all []registry.Instance) error {
	if err := registry.ValidateAll(all); err != nil {
		return err
	}
	p.board.listed <- all[len(all)-1]
	return nil
}

func (p pinned) Lost() <-chan struct{}       { return nil }
func (p pinned) Close(context.Context) error { return nil }

// outside is an address of this machine that others could connect to.
func outside(t *testing.T) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	t.Skip("this machine has no address but loopback")
	return ""
}

const (
	byRoute   = "listed by the address from which the registry is reached"
	onlyHere  = "the registry is on this machine, so the address that is listed is of this machine alone: for others advertise another (-easyops.advertise)"
	notOthers = "the address that is listed is of this machine alone, and the registry is not: others cannot connect to it, so listen elsewhere (-easyops.addr) or advertise another (-easyops.advertise)"
)

// TestAdvertised: what a registry of several machines is told, and the log.
func TestAdvertised(t *testing.T) {
	own := outside(t)
	for _, test := range []struct {
		name, hosts, addr, status, advertise string
		wantHost, wantStatus                 string
		said                                 []string
	}{
		{"all interfaces", own + ":2379", ":0", ":0", "", own, own, []string{byRoute, byRoute}},
		{"all of IPv4", "user@" + own, "0.0.0.0:0", "", "", own, "", []string{byRoute}},
		{"registry everywhere", "127.0.0.1:1," + own + ":1", ":0", "", "", own, "", []string{byRoute}},
		{"bad host first", "127.0.0.1:99999," + own + ":1", ":0", "", "", own, "", []string{byRoute}},
		{"registry here", "127.0.0.1:2379", ":0", "", "", "127.0.0.1", "", []string{onlyHere}},
		{"loopback", own + ":2379", "127.0.0.1:0", "", "", "127.0.0.1", "", []string{notOthers}},
		{"loopback, registry here", "127.0.0.1:2379", "127.0.0.1:0", "", "", "127.0.0.1", "", nil},
		{"loopback, registry nowhere", "127.0.0.1:99999", "127.0.0.1:0", "", "", "127.0.0.1", "", nil},
		{"pages on loopback", own + ":2379", ":0", "127.0.0.1:0", "", own, "127.0.0.1", []string{byRoute, notOthers}},
		{"one address", "127.0.0.1:2379", own + ":0", ":0", "", own, "127.0.0.1", []string{onlyHere}},
		{"advertised", own + ":2379", ":0", ":0", "echo.example:4100", "echo.example", "echo.example", nil},
		{"advertised loopback", own + ":2379", ":0", "", "127.0.0.1:4100", "127.0.0.1", "", []string{notOthers}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var (
				b board
				l logs
			)
			both := append(echoService(), easyops.Bind[testpb.TestServiceServer](testpb.RegisterTestServiceServer, testpb.UnimplementedTestServiceServer{}, nil))
			s := startOff(t, &l, both, easyops.WithAuth("insecure-none"), easyops.WithRegistry(b.open(test.hosts)),
				easyops.WithAddr(test.addr), easyops.WithStatusAddr(test.status), easyops.WithAdvertise(test.advertise))
			got := <-b.listed
			host, _, _ := net.SplitHostPort(got.Addr)
			statusHost, _, _ := net.SplitHostPort(got.StatusAddr)
			if host != test.wantHost || statusHost != test.wantStatus {
				t.Errorf("listed as %q and %q", got.Addr, got.StatusAddr)
			}
			if err := s.Shutdown(t.Context()); err != nil { // which lists it once more
				t.Error(err)
			}
			var said []string
			for _, what := range []string{byRoute, onlyHere, notOthers} {
				for range l.with(t, what) {
					said = append(said, what)
				}
			}
			if !slices.Equal(said, test.said) {
				t.Errorf("said %q, want %q", said, test.said)
			}
		})
	}
}

// TestAdvertisedNowhere: where no address can be told the server serves, says what
// to set, and tries on.
func TestAdvertisedNowhere(t *testing.T) {
	var (
		b board
		l logs
	)
	s := startOff(t, &l, echoService(), easyops.WithAuth("insecure-none"), easyops.WithAddr(":0"), easyops.WithRegistry(b.open("127.0.0.1:99999")))
	const fails = "registration fails, trying again"
	l.await(t, fails)
	mustContain(t, l.with(t, fails)[0]["err"].(string), "-easyops.advertise", "EASYOPS_ADVERTISE", "WithAdvertise", "99999")
	_, port, _ := net.SplitHostPort(s.Addr().String())
	say(t, dialEcho(t, apart(), easyops.DialTarget("127.0.0.1:"+port)), "hi")
	select {
	case i := <-b.listed:
		t.Errorf("listed as %s", i.Addr)
	default:
	}
}
