package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	answerWithin = 15 * time.Minute // more than any answer takes: who hangs does not hang the run
	endWithin    = time.Minute
	tailSize     = 1000 // bytes of a log that are told
)

// child is a process that is spoken to in lines of JSON.
type child struct {
	what    string
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers io.ReadCloser
	out     *json.Decoder
	log     *os.File // what it writes for people
	request *json.Encoder
}

// startChild runs a subcommand of this program. Its log is a file in dir.
func startChild(dir, what string, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return startProgram(dir, what, self, args...)
}

// startProgram runs another program in the same way.
func startProgram(dir, what, program string, args ...string) (c *child, err error) {
	c = &child{what: what, cmd: exec.Command(program, args...)}
	if c.log, err = os.Create(filepath.Join(dir, strings.ReplaceAll(what, " ", "-")+".log")); err != nil {
		return nil, err
	}
	c.cmd.Stderr = c.log
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if c.answers, err = c.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	c.request, c.out = json.NewEncoder(c.in), json.NewDecoder(c.answers)
	return c, c.cmd.Start()
}

// ask sends a request and reads the answer.
func (c *child) ask(request, answer any) error {
	if err := c.request.Encode(request); err != nil {
		return c.fault(err)
	}
	return c.read(answer)
}

func (c *child) read(answer any) error {
	if pipe, ok := c.answers.(*os.File); ok {
		_ = pipe.SetReadDeadline(time.Now().Add(answerWithin)) // where there is none, it may hang
	}
	if err := c.out.Decode(answer); err != nil {
		return c.fault(err)
	}
	return nil
}

// fault adds the end of the log, which says why there is no answer.
func (c *child) fault(err error) error {
	return fmt.Errorf("%s: %w: %s", c.what, err, endOfFile(c.log.Name()))
}

// endOfFile is the end of a file, which may be a long one.
func endOfFile(file string) []byte {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	_, _ = f.Seek(-tailSize, io.SeekEnd) // a file that is shorter is read from its beginning
	text, _ := io.ReadAll(io.LimitReader(f, tailSize))
	return text
}

// stop ends the process, by the end of its input, and waits for it.
func (c *child) stop() error {
	c.in.Close()
	defer c.log.Close()
	defer time.AfterFunc(endWithin, func() { _ = c.cmd.Process.Kill() }).Stop() // it may have ended
	if err := c.cmd.Wait(); err != nil {
		return c.fault(err)
	}
	return nil
}

// stopAll ends several.
func stopAll(children []*child) error {
	var errs []error
	for _, c := range children {
		c.in.Close() // so that all end at once
	}
	for _, c := range children {
		errs = append(errs, c.stop())
	}
	return errors.Join(errs...)
}
