package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	plaintext "google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
)

// startsPerPair is how many starts there are for each pair that was asked for:
// they are short.
const startsPerPair = 5

// starter is a server's program and how it is started.
type starter struct {
	name string
	args func(addr, registry string) []string
}

var (
	startBare = func(addr, _ string) []string { return []string{"bare", "-addr=" + addr} }
	startOurs = func(addr, registry string) []string {
		return []string{"easyops", "-easyops.addr=" + addr, "-easyops.registry=local:" + registry}
	}
	starters = []starter{{ours, startOurs}, {bare, startBare}, {bareAgain, startBare}}
)

// measureStart measures the time from the start of a process to its first
// answer, over plaintext.
func measureStart(s settings, r *report) error {
	progress("start: builds two servers")
	if err := build(s.dir, "./start/..."); err != nil {
		return err
	}
	r.Start = map[string][]float64{}
	names := []string{}
	byName := map[string]starter{}
	for _, st := range starters {
		names, byName[st.name] = append(names, st.name), st
		if _, err := startOnce(s, st); err != nil { // the file is in memory then
			return err
		}
	}
	progress("start: %d of each", s.pairs*startsPerPair)
	for round := range s.pairs * startsPerPair {
		for _, name := range orderOf(names, round) {
			took, err := startOnce(s, byName[name])
			if err != nil {
				return err
			}
			r.Start[name] = append(r.Start[name], micros(took)/1000)
		}
	}
	return nil
}

// build builds programs of this module and of those that it needs.
func build(dir string, packages ...string) error {
	cmd := exec.Command("go", append([]string{"build", "-o", dir + "/"}, packages...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, out)
	}
	return nil
}

func startOnce(s settings, st starter) (took time.Duration, err error) {
	addr, err := freeAddr()
	if err != nil {
		return 0, err
	}
	args := st.args(addr, filepath.Join(s.dir, "registry"))
	log, err := os.Create(filepath.Join(s.dir, "start.log"))
	if err != nil {
		return 0, err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(s.dir, args[0]), args[1:]...)
	cmd.Stderr = log
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	err = firstAnswer(addr)
	took = time.Since(begin)
	_ = cmd.Process.Kill() // it has done its work, and its end is not measured
	_ = cmd.Wait()         // it was killed
	if err != nil {
		text, _ := os.ReadFile(log.Name())
		err = fmt.Errorf("%s: %w: %s", st.name, err, text)
	}
	return took, err
}

// freeAddr returns an address on which nothing listens now.
func freeAddr() (string, error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return lis.Addr().String(), lis.Close()
}

// firstAnswer calls a server that may not listen yet.
func firstAnswer(addr string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(plaintext.NewCredentials()), grpc.WithContextDialer(dialSoon))
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = testpb.NewTestServiceClient(conn).EmptyCall(ctx, &testpb.Empty{}, grpc.WaitForReady(true))
	return err
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
