package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	plaintext "google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/go-easyops/easyops/bench/serving"
	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
)

// startsPerPair is how many starts there are for each pair that was asked for:
// they are short.
const startsPerPair = 5

// starter is a server's program, how it is started and how it is called.
type starter struct {
	name    string
	program string
	args    func(addr, registry string) []string
	call    func(context.Context, grpcConn) error
	peer    bool // it may fail, and is left out then
}

type grpcConn = grpc.ClientConnInterface

// measured is bare with what it takes to be measured, as peers have it.
const measured = "measured"

// echoDir is of programs of start/echo in the directory of what is built: they have
// the same names as the minimal ones.
const echoDir = "echo"

var starters = []starter{
	{ours, "easyops", func(addr, registry string) []string {
		return []string{"-easyops.addr=" + addr, "-easyops.registry=local:" + registry}
	}, callEmpty, false},
	{bare, "bare", toldAddr, callEmpty, false},
	{bareAgain, "bare", toldAddr, callEmpty, false},
	{measured, filepath.Join(echoDir, "bare"), toldBoth, callEcho, false},
}

func toldAddr(addr, _ string) []string { return []string{"-addr=" + addr} }

// toldBoth is for servers that speak the protocol of measuring.
func toldBoth(addr, registry string) []string {
	return []string{"-listen=" + addr, "-registry=" + registry}
}

func callEmpty(ctx context.Context, conn grpcConn) error {
	_, err := testpb.NewTestServiceClient(conn).EmptyCall(ctx, &testpb.Empty{}, grpc.WaitForReady(true))
	return err
}

func callEcho(ctx context.Context, conn grpcConn) error {
	_, err := echov1.NewEchoServiceClient(conn).Echo(ctx, &echov1.EchoRequest{}, grpc.WaitForReady(true))
	return err
}

// startersWith are all servers, with those of peers.
func startersWith(peers []peer) []starter {
	list := slices.Clone(starters)
	for _, p := range able(peers) {
		list = append(list, starter{p.Name, filepath.Join(peersDir, p.Name), toldBoth, callEcho, true})
	}
	return list
}

// startsPeers tells whether peers are started, too: not where they are of no
// interest otherwise, since to build them takes minutes.
func (s settings) startsPeers() bool { return s.measures("peers") || s.measures("weight") && !s.short }

// measureStart measures the time from the start of a process to its first
// answer, over plaintext.
func measureStart(s settings, r *report) error {
	progress("start: builds the servers")
	var peers []peer
	if s.startsPeers() {
		var err error
		if peers, err = s.builtPeers(); err != nil {
			return err
		}
	}
	if err := buildStarters(s.dir, "./start/echo/bare"); err != nil {
		return err
	}
	progress("start: %d of each", s.pairs*startsPerPair)
	return measureStarts(s, r, startersWith(peers))
}

// measureStarts starts all in turns. In the first turn, which does not count, their
// files come into memory. A peer that fails is left out then.
func measureStarts(s settings, r *report, list []starter) error {
	r.Start = map[string][]float64{}
	for round := range s.pairs*startsPerPair + 1 {
		for _, st := range orderOf(list, round) {
			took, err := startOnce(s, st)
			switch {
			case err != nil && !st.peer:
				return err
			case err != nil:
				progress("start: without %v", err)
				delete(r.Start, st.name)
				r.Faults = append(r.Faults, fault{"start of " + st.name, cellText(err.Error())})
				list = slices.DeleteFunc(slices.Clone(list), func(other starter) bool { return other.name == st.name })
			case round > 0:
				r.Start[st.name] = append(r.Start[st.name], micros(took)/1000)
			}
		}
	}
	return nil
}

// buildStarters builds the minimal servers, and some of those that echo.
func buildStarters(dir, echo string, options ...string) error {
	return errors.Join(
		build(dir, slices.Concat(options, []string{"./start/bare", "./start/easyops"})...),
		build(filepath.Join(dir, echoDir), append(slices.Clone(options), echo)...),
	)
}

// build builds programs of this module and of those that it needs.
func build(dir string, args ...string) error { return buildIn(".", dir, args...) }

// buildIn builds programs of the module of a directory.
func buildIn(in, dir string, args ...string) error {
	cmd := exec.Command("go", slices.Concat([]string{"build", "-C", in, "-o", dir + "/"}, args)...)
	cmd.Env = append(os.Environ(), "GOWORK=off") // the modules are as they say
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build in %s: %w: %s", in, err, out)
	}
	return nil
}

// startOnce starts a server and returns when it has answered.
func startOnce(s settings, st starter) (time.Duration, error) {
	started, err := launch(s, st)
	if err != nil {
		return 0, err
	}
	started.kill()
	return started.took, nil
}

// started is a server that has answered.
type started struct {
	cmd  *exec.Cmd
	in   io.Closer // it ends with it, too
	took time.Duration
}

// kill ends it: it has done its work, and its end is not measured.
func (s *started) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // it was killed
	s.in.Close()
}

// launch starts a server, and once more where its port was taken meanwhile.
func launch(s settings, st starter) (*started, error) {
	server, err := launchOnce(s, st)
	if err != nil && strings.Contains(err.Error(), syscall.EADDRINUSE.Error()) {
		server, err = launchOnce(s, st)
	}
	return server, err
}

func launchOnce(s settings, st starter) (*started, error) {
	addr, err := serving.FreeAddr("127.0.0.1")
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(s.dir, "start.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	server := &started{cmd: exec.Command(filepath.Join(s.dir, st.program), st.args(addr, filepath.Join(s.dir, "registry"))...)}
	server.cmd.Stderr = log
	if server.in, err = server.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := server.cmd.Start(); err != nil {
		return nil, err
	}
	err = firstAnswer(addr, st.call)
	server.took = time.Since(begin)
	if err != nil {
		server.kill()
		return nil, fmt.Errorf("%s: %w: %s", st.name, err, endOfFile(log.Name()))
	}
	return server, nil
}

// firstAnswer calls a server that may not listen yet.
func firstAnswer(addr string, call func(context.Context, grpcConn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(plaintext.NewCredentials()), grpc.WithContextDialer(dialSoon))
	if err != nil {
		return err
	}
	defer conn.Close()
	return call(ctx, conn)
}

// dialSoon tries to connect until it can. grpc-go itself waits a second
// between its tries.
func dialSoon(ctx context.Context, addr string) (net.Conn, error) {
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil || ctx.Err() != nil {
			return conn, errors.Join(err, ctx.Err())
		}
		time.Sleep(100 * time.Microsecond)
	}
}

func (r *report) startTable() *table {
	t := &table{
		title:   "Process start to first answered call",
		columns: []string{"server", "ms", "least", "most", "against bare", "starts"},
	}
	for _, name := range namesOf(r.Start, programNames()) {
		s := spreadOf(r.Start[name])
		t.add(name, s, digits(s.Min), digits(s.Max), ratios(r.Start[name], r.Start[bare]), s.N)
	}
	return t
}

func (r *report) startGoals() []goal {
	if len(r.Start) == 0 {
		return nil
	}
	return []goal{{
		What: "start to first answer against bare", AtMost: 1.3,
		Figure: ratios(r.Start[ours], r.Start[bare]), Control: ratios(r.Start[bareAgain], r.Start[bare]),
	}}
}

func (r *report) startRatios() map[string]spread {
	return map[string]spread{"start/" + ours + ":" + bare: ratios(r.Start[ours], r.Start[bare])}
}
