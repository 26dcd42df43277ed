package edge

import (
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/go-easyops/easyops/cmd/easyops/internal/routes"
	"github.com/go-easyops/easyops/runtime/registry"
)

func parseRoutes(text string) (*routes.File, error) { return routes.Parse("r.yaml", []byte(text)) }

// servePorts serves the TCP routes of a file without an edge, and returns the address of
// the first.
func (p *place) servePorts(f *routes.File, r *room) net.Addr {
	p.t.Helper()
	log := slog.New(slog.NewTextHandler(&p.log, nil))
	reg, err := registry.Open(p.registry, log)
	if err != nil {
		p.t.Fatal(err)
	}
	s := newPorts(portsConfig{registry: reg, room: r, log: log, fail: func(err error) { p.t.Error(err) }})
	change, err := s.prepare(f, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	change.commit()
	s.start()
	p.t.Cleanup(func() {
		_ = s.close()
		_ = reg.Close()
	})
	return s.listeners()[0].Addr()
}

// isServed tells whether a connection is, and leaves it open.
func isServed(c net.Conn) bool {
	if _, err := fmt.Fprintln(c, "x"); err != nil {
		return false
	}
	n, _ := c.Read(make([]byte, 100))
	return n > 0
}

// TestRoom: one client has its share of a route, and all routes no more than leaves
// descriptors for the rest. Who comes later is served when others have gone.
func TestRoom(t *testing.T) {
	for name, test := range map[string]struct {
		keys   string
		room   *room
		served int
		log    string
	}{
		"bound of the route":    {", max_connections: 3, max_connections_per_client: 3", nil, 3, "too many connections"},
		"a quarter for each":    {", max_connections: 8", nil, 2, "too many connections from this client"},
		"said for each":         {", max_connections_per_client: 2", nil, 2, "too many connections from this client"},
		"a quarter of the room": {"", &room{most: 8}, 2, "too many connections from this client"},
		"all routes":            {", max_connections_per_client: 100", takenRoom(10, 8), 2, "there are too many"},
		"one for each at least": {", max_connections: 2", nil, 1, "too many connections from this client"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			p.serve("lines", named("a"))
			f, err := parseRoutes(fmt.Sprintf("tcp: [{listen: \"127.0.0.1:0\", service: lines%s}]\n", test.keys))
			if err != nil {
				t.Fatal(err)
			}
			addr := p.servePorts(f, test.room)
			var open []net.Conn
			for c := dial(t, addr); isServed(c); c = dial(t, addr) {
				if open = append(open, c); len(open) > test.served {
					break
				}
			}
			if len(open) != test.served {
				t.Fatalf("%d are served, want %d", len(open), test.served)
			}
			await(t, "a line in the log", func() bool { return strings.Contains(p.log.text(), test.log) }) // after the end
			_ = open[0].Close()
			await(t, "room", func() bool {
				c := dial(t, addr)
				defer c.Close()
				return isServed(c)
			})
		})
	}
}

func takenRoom(most int, taken int64) *room {
	r := &room{most: most}
	r.taken.Store(taken)
	return r
}

func TestNewRoom(t *testing.T) {
	for files, want := range map[uint64]int{1024: 128, 1 << 20: 1 << 17, 4: 1, 0: 1<<28 - 1, 1<<64 - 1: 1<<28 - 1} {
		if got := newRoom(files).most; got != want {
			t.Errorf("%d files: %d connections, want %d", files, got, want)
		}
	}
	if files := openFiles(); files == 0 {
		t.Error("the limit of open files is not known")
	}
}

// TestLittleRoom: what the routes ask for and cannot have is said.
func TestLittleRoom(t *testing.T) {
	const says = "raise the limit of open files"
	for most, warned := range map[int]bool{30: false, 29: true} {
		p := newPlace(t)
		f, err := parseRoutes("tcp: [{listen: \"127.0.0.1:0\", service: a, max_connections: 10}, {listen: \"127.0.0.1:0\", service: b, max_connections: 20}]\n")
		if err != nil {
			t.Fatal(err)
		}
		p.servePorts(f, &room{most: most})
		if strings.Contains(p.log.text(), says) != warned {
			t.Errorf("room for %d: the log is %q", most, p.log.text())
		}
	}
}
