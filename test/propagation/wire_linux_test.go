//go:build real

package propagation

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/registry"
	localregistry "github.com/go-easyops/easyops/runtime/registry/local"
	"github.com/go-easyops/easyops/test/serve"
)

// machine is another machine, as far as the network goes: a namespace of its
// own, with a cable to this one.
type machine struct {
	namespace string
	cable     string // its end on this machine
	addr      string // host:port of the echo server there
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	id := os.Getpid() % 60000
	net24 := fmt.Sprintf("10.213.%d", id%256)
	m := &machine{namespace: fmt.Sprintf("easyops%d", id), cable: fmt.Sprintf("eo%da", id), addr: net24 + ".2:4100"}
	far := fmt.Sprintf("eo%db", id)
	if out, err := exec.Command("ip", "netns", "add", m.namespace).CombinedOutput(); err != nil {
		t.Skipf("no network namespaces here: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", m.namespace).Run() })
	for _, args := range []string{
		"link add " + m.cable + " type veth peer name " + far + " netns " + m.namespace,
		"addr add " + net24 + ".1/30 dev " + m.cable,
		"link set " + m.cable + " up",
		"-n " + m.namespace + " addr add " + net24 + ".2/30 dev " + far,
		"-n " + m.namespace + " link set " + far + " up",
	} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Skipf("no network between namespaces here: ip %s: %v: %s", args, err, out)
		}
	}
	m.serve(t)
	return m
}

// serve runs the example's server there.
func (m *machine) serve(t *testing.T) {
	t.Helper()
	var log bytes.Buffer
	cmd := exec.Command("ip", "netns", "exec", m.namespace, serve.Build(t, serve.EchoServer),
		"-easyops.addr="+m.addr, "-easyops.auth=insecure-none", "-easyops.registry=none")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Logf("the server there:\n%s", &log)
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", m.addr, time.Second)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// tap keeps all that goes over a cable, in both directions.
type tap struct {
	mu   sync.Mutex
	seen bytes.Buffer
}

func newTap(t *testing.T, cable string) *tap {
	t.Helper()
	all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, syscall.ETH_P_ALL))
	link, err := net.InterfaceByName(cable)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, int(all))
	if err != nil {
		t.Skipf("no packets can be seen here: %v", err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrLinklayer{Protocol: all, Ifindex: link.Index}); err != nil {
		t.Fatal(err)
	}
	socket, tap := os.NewFile(uintptr(fd), cable), &tap{}
	var reading sync.WaitGroup
	reading.Go(func() {
		for packet := make([]byte, 1<<16); ; {
			n, err := socket.Read(packet)
			if err != nil {
				return
			}
			tap.mu.Lock()
			tap.seen.Write(packet[:n])
			tap.mu.Unlock()
		}
	})
	t.Cleanup(func() { socket.Close(); reading.Wait() })
	return tap
}

// has tells whether the value of a header went over the cable, as it is or in
// the code of HPACK (RFC 7541, 5.2), of which the last byte depends on what
// follows.
func (p *tap) has(value string) bool {
	coded := hpack.AppendHuffmanString(nil, value)
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Contains(p.seen.Bytes(), []byte(value)) || bytes.Contains(p.seen.Bytes(), coded[:len(coded)-1])
}

// send makes a call with a header of one's own, by plain gRPC, and waits until
// the tap has seen it: then it has seen all that went before.
func (p *tap) send(t *testing.T, addr, header, value string) {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, header, value)
	if _, err := echov1.NewEchoServiceClient(conn).Echo(ctx, &echov1.EchoRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	for !p.has(value) {
		if ctx.Err() != nil {
			t.Fatalf("the tap has not seen %s", header)
		}
		time.Sleep(time.Millisecond)
	}
}

// plant lists an address in a registry of this machine.
func plant(t *testing.T, addr string) easyops.Option {
	t.Helper()
	dir := shortDir(t)
	reg, err := localregistry.Open(dir, logger(t))
	if err != nil {
		t.Fatal(err)
	}
	lease, err := reg.Register(t.Context(), []registry.Instance{{
		ID: "away", Service: service, Addr: addr, Kinds: []registry.Kind{registry.KindGRPC}, Health: registry.Ready, Started: time.Now(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lease.Close(context.Background()); _ = reg.Close() })
	return easyops.WithRegistry("local:" + dir)
}

// TestNoTokenInClearText: nothing of a token goes over an unencrypted connection
// to another machine. The calls that carry none, or leave it out, do.
func TestNoTokenInClearText(t *testing.T) {
	away := newMachine(t)
	tap := newTap(t, away.cable)
	users, services := newIssuer(t, "user"), newIssuer(t, "service")
	control, incoming, named, dialled, own := users.token(t, "control"), users.token(t, "alice"), users.token(t, "bob"), users.token(t, "carol"), services.token(t, "hop")
	tap.send(t, away.addr, auth.UserHeader, "Bearer "+control)

	registry, target := plant(t, away.addr), easyops.DialTarget("dns:///"+away.addr)
	source := easyops.DialUserToken(func(context.Context) (string, error) { return dialled, nil })
	ownToken := easyops.WithServiceToken(write(t, "own.token", []byte(own)))
	same := func(ctx context.Context) context.Context { return ctx }
	byName := func(ctx context.Context) context.Context { return auth.WithUserToken(ctx, named) }
	for _, test := range []struct {
		name   string
		onward func(context.Context) context.Context
		opts   []easyops.DialOption
		goes   bool
	}{
		{"incoming", same, []easyops.DialOption{registry}, false},
		{"incoming, forwarded", same, []easyops.DialOption{target, easyops.DialForwardUser()}, false},
		{"named", byName, []easyops.DialOption{registry}, false},
		{"named, at a target", byName, []easyops.DialOption{target}, false},
		{"dialled", same, []easyops.DialOption{target, source}, false},
		{"own", auth.WithoutUser, []easyops.DialOption{registry, ownToken}, false},
		{"own, at a target", auth.WithoutUser, []easyops.DialOption{target, ownToken, easyops.WithInsecurePlaintext()}, false},
		{"incoming, left out", same, []easyops.DialOption{target}, true},
		{"without", auth.WithoutUser, []easyops.DialOption{registry, source}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			hop := &hop{onward: test.onward}
			hop.next = dialEcho(t, append([]easyops.DialOption{apart(t)}, test.opts...)...)
			where := easyops.WithRegistry("local:" + shortDir(t))
			s, err := echov1.StartEchoServiceServer(hop, apart(t), where, easyops.WithAuth(users.spec()), easyops.WithAddr("127.0.0.1:0"), easyops.WithDrainDelay(0))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Shutdown(context.Background()) })
			ctx, cancel := context.WithTimeout(auth.WithUserToken(t.Context(), incoming), 10*time.Second)
			defer cancel()
			_, err = dialEcho(t, apart(t), where).Echo(ctx, &echov1.EchoRequest{})
			switch {
			case test.goes && err != nil:
				t.Error(err)
			case !test.goes && (status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), "leaves this machine unencrypted")):
				t.Errorf("it ended with %v", err)
			}
		})
	}

	tap.send(t, away.addr, "x-end", "the end of what is looked at")
	for name, token := range map[string]string{"incoming": incoming, "named": named, "dialled": dialled, "own": own} {
		if tap.has("Bearer " + token) {
			t.Errorf("the %s token was on the wire", name)
		}
	}
}
