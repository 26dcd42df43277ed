package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-easyops/easyops/bench/serving"
)

// patience is how long a process may take to start or to end: more than servers
// take to shut down at most.
const patience = 40 * time.Second

// process is one of this program that runs. It ends with its input at the latest, so
// also when this process is killed.
type process struct {
	name    string
	cmd     *exec.Cmd
	in      io.WriteCloser // closed when cmd has its exit code
	log     *os.File
	exited  chan struct{} // closed when cmd has its exit code
	leaving atomic.Bool   // it has been told to end
}

// start runs a subcommand, which writes its log into the directory.
func start(dir, name string, cmd *exec.Cmd) (p *process, err error) {
	p = &process{name: name, cmd: cmd, exited: make(chan struct{})}
	if p.log, err = os.Create(filepath.Join(dir, name+".log")); err != nil {
		return nil, err
	}
	if p.in, err = cmd.StdinPipe(); err != nil {
		return nil, errors.Join(err, p.log.Close())
	}
	cmd.Stderr, cmd.Env = p.log, environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us: theirs comes from us
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, p.log.Close())
	}
	go func() {
		defer close(p.exited)
		_ = cmd.Wait() // ProcessState says it all
	}()
	return p, nil
}

// environment is ours without settings of easyops.
func environment() (env []string) {
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "EASYOPS_") {
			env = append(env, e)
		}
	}
	return env
}

// wait waits for the end, which is to be a good one.
func (p *process) wait() error {
	defer p.log.Close()
	select {
	case <-p.exited:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.exited
		return fmt.Errorf("%s did not end in %v", p.name, patience)
	}
	if !p.cmd.ProcessState.Success() {
		return p.fault(fmt.Errorf("it ended with %v", p.cmd.ProcessState))
	}
	return nil
}

// fault adds the end of the log, which says why.
func (p *process) fault(err error) error {
	text, _ := os.ReadFile(p.log.Name())
	return fmt.Errorf("%s: %w: %s", p.name, err, text[max(0, len(text)-2000):])
}

// kill ends it where nothing else has.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.exited
}

// server is a process that serves.
type server struct {
	*process
	addr string
}

// startTries is how many ports a server may find taken.
const startTries = 5

// startServer returns when the server is ready. Another program may take the port
// before the server does: then it has another one.
func startServer(ctx context.Context, s settings, name string, probe *http.Client, more ...string) (v *server, err error) {
	for range startTries {
		addr, err := serving.FreeAddr("127.0.0.1")
		if err != nil {
			return nil, err
		}
		if v, err = startServerAt(ctx, s, name, addr, probe, more...); err == nil || !isTaken(err) {
			return v, err
		}
	}
	return nil, fmt.Errorf("%s: %d ports were taken, one after the other", name, startTries)
}

// isTaken tells whether a server has not found its port free.
func isTaken(err error) bool {
	return errors.Is(err, errEarlyEnd) && strings.Contains(err.Error(), syscall.EADDRINUSE.Error())
}

func startServerAt(ctx context.Context, s settings, name, addr string, probe *http.Client, more ...string) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cert := filepath.Join(s.dir, certFile)
	args := append([]string{"serve"}, more...)
	p, err := start(s.dir, name, exec.Command(self, append(args, append(registryFlags(s),
		"-easyops.addr="+addr, "-easyops.tls-cert="+cert, "-easyops.tls-key="+cert,
		"-easyops.auth="+verifiedBy(s.dir), "-easyops.operators=user:"+operator)...)...))
	if err != nil {
		return nil, err
	}
	v := &server{p, addr}
	if err := v.ready(ctx, probe); err != nil {
		v.kill()
		return nil, err
	}
	return v, nil
}

// registryFlags are those of servers and clients.
func registryFlags(s settings) []string {
	return []string{
		"-easyops.registry=local:" + filepath.Join(s.dir, "registry"),
		"-easyops.tls-ca=" + filepath.Join(s.dir, certFile),
	}
}

var errEarlyEnd = errors.New("it ended before it was ready")

// ready waits until the server says that it is.
func (v *server) ready(ctx context.Context, probe *http.Client) (last error) {
	probing, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-v.exited:
			stop() // who else listens there may never answer
		case <-probing.Done():
		}
	}()
	for end := time.Now().Add(patience); time.Now().Before(end); pause(probing, 20*time.Millisecond) {
		select {
		case <-v.exited:
			return v.fault(errEarlyEnd)
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		if last = request(probing, probe, "", http.MethodGet, v.url("/readyz"), "", nothing); last == nil {
			return nil
		}
	}
	return v.fault(last)
}

func (v *server) url(path string) string { return "https://" + v.addr + path }

// nothing reads an answer that nobody needs.
func nothing(body io.Reader) error {
	_, err := io.Copy(io.Discard, body)
	return err
}

// end tells it to end in an orderly way.
func (v *server) end() {
	v.leaving.Store(true)
	_ = v.cmd.Process.Signal(syscall.SIGTERM) // where it has ended, wait tells
}

// caller is the process of the client.
type caller struct {
	*process
	request *json.Encoder
	answers *json.Decoder
}

func startCaller(s settings, web string) (*caller, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"call", "-dir=" + s.dir, "-rate=" + strconv.Itoa(s.rate), "-chat=" + s.chat.String(), "-web=" + web}
	return callBy(s.dir, exec.Command(self, append(args, registryFlags(s)...)...))
}

// callBy starts the command as the client.
func callBy(dir string, cmd *exec.Cmd) (c *caller, err error) {
	out, w := io.Pipe() // not StdoutPipe, which Wait closes before all is read
	cmd.Stdout = w
	c = &caller{}
	if c.process, err = start(dir, "client", cmd); err != nil {
		return nil, err
	}
	c.request, c.answers = json.NewEncoder(c.in), json.NewDecoder(out)
	go func() {
		<-c.exited
		_ = w.Close()
	}()
	return c, nil
}

// ask returns what the client has heard so far. A client that does not answer in
// time is ended.
func (c *caller) ask(within time.Duration) (h heard, err error) {
	late := time.AfterFunc(within, func() { _ = c.cmd.Process.Kill() }) // which ends what is waited for
	if err = c.request.Encode("?"); err == nil {
		err = c.answers.Decode(&h)
	}
	if !late.Stop() {
		err = fmt.Errorf("there was no answer in %v", within)
	}
	if err != nil {
		err = c.fault(err)
	}
	return h, err
}

// stop ends it.
func (c *caller) stop() error {
	c.in.Close()
	return c.wait()
}
