//go:build real

// Package peers_test calls all peers, each in a process of its own.
package peers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	echov1 "github.com/go-easyops/easyops/bench/echo/gen"
	"github.com/go-easyops/easyops/bench/serving"
)

// names are those of all programs here.
var names = []string{"connect", "gomicro", "gozero", "kitex", "kratos", "middleware"}

// dir is where they are built, all at once.
var dir string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if dir, err = os.MkdirTemp("", "peers-"); err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		if out, err := exec.Command("go", "build", "-o", dir+"/", "./...").CombinedOutput(); err != nil {
			panic(string(out))
		}
		return m.Run()
	}())
}

func TestNames(t *testing.T) {
	built, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, f := range built {
		got = append(got, f.Name())
	}
	if !slices.Equal(got, names) {
		t.Errorf("the programs are %v, want %v", got, names)
	}
}

func describe(t *testing.T, name string) (d serving.Description) {
	t.Helper()
	out, err := exec.Command(filepath.Join(dir, name), "-describe").Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDescriptions(t *testing.T) {
	gomod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		d := describe(t, name)
		if d.Name != name || !strings.Contains(string(gomod), "\t"+d.Module+" "+d.Version+"\n") {
			t.Errorf("%s: it is %q, %s at %q", name, d.Name, d.Module, d.Version)
		}
		if own := name == "connect" || name == "kitex"; own != (d.GRPC == "") || !own && !strings.Contains(string(gomod), "\tgoogle.golang.org/grpc "+d.GRPC+"\n") {
			t.Errorf("%s: grpc-go is %q", name, d.GRPC)
		}
		for f, how := range d.Features {
			if !slices.Contains(serving.Features(), f) || how == "" {
				t.Errorf("%s: feature %q: %q", name, f, how)
			}
		}
		if slices.Contains(d.Security, serving.Token) != (d.Features[serving.Identity] != "") || !slices.Contains(d.Security, serving.Plaintext) {
			t.Errorf("%s: security %v with identity %q", name, d.Security, d.Features[serving.Identity])
		}
	}
}

// Each peer answers each kind of call in each way that it says.
func TestCalls(t *testing.T) {
	files := writeFiles(t)
	for _, name := range names {
		d := describe(t, name)
		for _, security := range d.Security {
			t.Run(name+"/"+security, func(t *testing.T) {
				s := start(t, name, files.serveArgs(security)...)
				valid := presenting(t.Context(), files.token)
				checkCalls(t, s.dial(t, files.credentials(t, security, true)), valid, codes.OK)
				if slices.Contains([]string{serving.Token, serving.Mutual}, security) {
					checkRefusals(t, s, files, security)
				}
				if log := s.stop(t); (d.Features[serving.AccessLog] != "") != strings.Contains(log, "echo.v1.EchoService") {
					t.Errorf("access log %q, but it says %s", d.Features[serving.AccessLog], log)
				}
			})
		}
	}
}

// Who can be quiet says nothing of calls, knows who calls all the same, and nobody
// else pretends to.
func TestQuiet(t *testing.T) {
	files := writeFiles(t)
	for _, name := range names {
		if !describe(t, name).Quiet {
			out, err := exec.Command(filepath.Join(dir, name), "-quiet").CombinedOutput()
			if err == nil || !strings.Contains(string(out), "leave out -quiet") {
				t.Errorf("%s: %v, %s", name, err, out)
			}
			continue
		}
		s := start(t, name, append(files.serveArgs(serving.Token), "-quiet")...)
		conn := s.dial(t, files.credentials(t, serving.Token, true))
		checkCalls(t, conn, presenting(t.Context(), files.token), codes.OK)
		checkCalls(t, conn, t.Context(), codes.Unauthenticated)
		if log := s.stop(t); strings.Contains(log, "echo.v1.EchoService") {
			t.Errorf("%s: it says %s", name, log)
		}
	}
}

// checkRefusals checks that nobody gets in who is not known.
func checkRefusals(t *testing.T, s *server, files files, security string) {
	t.Helper()
	conn := s.dial(t, files.credentials(t, security, true))
	for _, token := range []string{"", "x", files.token + "x", files.expired, files.foreign} {
		checkCalls(t, conn, presenting(t.Context(), token), codes.Unauthenticated)
	}
	if security == serving.Mutual {
		anonymous := s.dial(t, files.credentials(t, security, false))
		checkCalls(t, anonymous, presenting(t.Context(), files.token), codes.Unavailable)
	}
}

func checkCalls(t *testing.T, conn *grpc.ClientConn, ctx context.Context, want codes.Code) {
	t.Helper()
	client := echov1.NewEchoServiceClient(conn)
	for method, call := range map[string]func(context.Context, echov1.EchoServiceClient) error{
		"Echo": echo, "Repeat": repeat, "Chat": chat,
	} {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		if err := call(ctx, client); status.Code(err) != want {
			t.Errorf("%s: %v, want %v", method, err, want)
		}
		cancel()
	}
}

var errWrong = errors.New("another answer")

func echo(ctx context.Context, c echov1.EchoServiceClient) error {
	r, err := c.Echo(ctx, &echov1.EchoRequest{Message: "hi"})
	if err == nil && r.GetMessage() != "hi" {
		return errWrong
	}
	return err
}

func repeat(ctx context.Context, c echov1.EchoServiceClient) error {
	stream, err := c.Repeat(ctx, &echov1.RepeatRequest{Message: "hi", Count: 100})
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		r, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF) && n == 100:
			return nil
		case err != nil:
			return err
		case r.GetMessage() != "hi":
			return errWrong
		}
	}
}

func chat(ctx context.Context, c echov1.EchoServiceClient) error {
	stream, err := c.Chat(ctx)
	if err != nil {
		return err
	}
	for _, text := range []string{"a", "b", "c"} {
		if err := stream.Send(&echov1.ChatRequest{Message: text}); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		if r.GetMessage() != text {
			return errWrong
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		return errors.Join(errWrong, err)
	}
	return nil
}

// What a peer cannot do, it does not ignore.
func TestUnsupported(t *testing.T) {
	files := writeFiles(t)
	for _, name := range names {
		d := describe(t, name)
		for _, security := range []string{serving.TLS, serving.Token, serving.Mutual} {
			if slices.Contains(d.Security, security) {
				continue
			}
			out, err := exec.Command(filepath.Join(dir, name), files.serveArgs(security)...).CombinedOutput()
			if err == nil || !strings.Contains(string(out), "it cannot be called by") {
				t.Errorf("%s, %s: %v, %s", name, security, err, out)
			}
		}
	}
}

// server is a peer that serves.
type server struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *json.Decoder
	addr string
}

func start(t *testing.T, name string, args ...string) *server {
	t.Helper()
	s := &server{cmd: exec.Command(filepath.Join(dir, name), args...)}
	log := &bytes.Buffer{}
	s.cmd.Stderr = log
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.in.Close() })
	s.out = json.NewDecoder(out)
	if err := s.out.Decode(&s.addr); err != nil {
		s.in.Close()
		t.Fatalf("%v, %v: %s", err, s.cmd.Wait(), log)
	}
	return s
}

// stop asks for the usage, ends the process by its input, and returns its log.
// There must be nothing else in what it writes.
func (s *server) stop(t *testing.T) string {
	t.Helper()
	if _, err := io.WriteString(s.in, "{}\n"); err != nil {
		t.Fatal(err)
	}
	var u serving.Usage
	if err := s.out.Decode(&u); err != nil || u.CPU <= 0 || u.RSS <= 0 {
		t.Errorf("usage %+v, %v", u, err)
	}
	s.in.Close()
	var more any
	if err := s.out.Decode(&more); !errors.Is(err, io.EOF) {
		t.Errorf("it writes %v, %v", more, err)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, s.cmd.Stderr)
	}
	return s.cmd.Stderr.(*bytes.Buffer).String()
}

func presenting(ctx context.Context, token string) context.Context {
	if token == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}
