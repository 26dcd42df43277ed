package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// proxy is a running program that stands in front of a server.
type proxy struct {
	what string
	cmd  *exec.Cmd
	log  *os.File
}

// startProxy starts a program and waits until it listens.
func startProxy(dir, what, listen, program string, args ...string) (*proxy, error) {
	p := &proxy{what: what, cmd: exec.Command(program, args...)}
	var err error
	if p.log, err = os.Create(filepath.Join(dir, what+".log")); err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", listen)
		if err == nil {
			return p, conn.Close()
		}
		if time.Now().After(end) {
			return nil, errors.Join(p.fault(err), p.stop())
		}
	}
}

// fault adds the end of the log.
func (p *proxy) fault(err error) error {
	text, _ := os.ReadFile(p.log.Name())
	return fmt.Errorf("%s: %w: %s", p.what, err, text[max(0, len(text)-1000):])
}

// stop ends the process. Some programs end by the signal that asks them to.
func (p *proxy) stop() error {
	defer p.log.Close()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return p.fault(err)
	}
	err := p.cmd.Wait()
	how, _ := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if err != nil && how.Signal() != syscall.SIGTERM && how.ExitStatus() != 128+int(syscall.SIGTERM) {
		return p.fault(err)
	}
	return nil
}

// usage is that of the process and of its children, such as nginx's workers. CPU
// is what the scheduler has given to their threads, in nanoseconds
// (/proc/PID/schedstat): CPU of a process by getrusage is known to the process
// itself alone, and /proc/PID/stat counts hundredths of seconds.
func (p *proxy) usage() (u usage, err error) {
	pids, err := family(p.cmd.Process.Pid)
	for _, pid := range pids {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		for _, file := range threads {
			u.CPU += time.Duration(firstNumber(file, 0))
		}
		u.RSS += firstNumber(fmt.Sprintf("/proc/%d/statm", pid), 1) * int64(os.Getpagesize())
	}
	if u.CPU == 0 {
		err = errors.Join(err, p.fault(errors.New("the kernel does not say how much CPU it has used")))
	}
	return u, err
}

// family returns a process and its children.
func family(pid int) ([]int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	pids := []int{pid}
	for field := range strings.FieldsSeq(string(text)) {
		if n, err := strconv.Atoi(field); err == nil {
			pids = append(pids, n)
		}
	}
	return pids, err
}

// firstNumber is the number in a place of a file, 0 where there is none: threads
// come and go.
func firstNumber(file string, place int) int64 {
	text, _ := os.ReadFile(file)
	fields := bytes.Fields(text)
	if place >= len(fields) {
		return 0
	}
	n, _ := strconv.ParseInt(string(fields[place]), 10, 64)
	return n
}

// nginxConf is nginx with nothing but grpc_pass, told to keep its connections in
// both directions and to write no log of requests. It has a worker for each core.
const nginxConf = `
worker_processes auto;
daemon off;
pid %[1]s/nginx.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
	access_log off;
	keepalive_requests 1000000000;
	client_body_temp_path %[1]s/nginx-body;
	proxy_temp_path %[1]s/nginx-proxy;
	fastcgi_temp_path %[1]s/nginx-fastcgi;
	uwsgi_temp_path %[1]s/nginx-uwsgi;
	scgi_temp_path %[1]s/nginx-scgi;
	upstream behind {
		server %[3]s;
		keepalive 256;
		keepalive_requests 1000000000;
	}
	server {
		listen %[2]s %[4]s http2;
		%[5]s
		location / { grpc_pass grpc://behind; }
	}
}
`

func (f *fronts) startNginx(listen, behind string) (*proxy, error) {
	secure, certificate := "", ""
	if f.cert != "" {
		secure, certificate = "ssl", fmt.Sprintf("ssl_certificate %s; ssl_certificate_key %[1]s; ssl_protocols TLSv1.3;", f.cert)
	}
	conf := filepath.Join(f.dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, f.dir, listen, behind, secure, certificate), 0o600); err != nil {
		return nil, err
	}
	return startProxy(f.dir, nginxGRPC, listen, nginxGRPC, "-p", f.dir, "-c", conf)
}

// haproxyConf is HAProxy that passes bytes on, by splice where that pays. It has a
// thread for each core.
const haproxyConf = `
defaults
	mode tcp
	option splice-auto
	timeout connect 5s
	timeout client 1m
	timeout server 1m
listen bytes
	bind %s
	server behind %s
`

func (f *fronts) startHAProxy(listen, behind string) (*proxy, error) {
	conf := filepath.Join(f.dir, "haproxy.cfg")
	if err := os.WriteFile(conf, fmt.Appendf(nil, haproxyConf, listen, behind), 0o600); err != nil {
		return nil, err
	}
	return startProxy(f.dir, haproxy, listen, haproxy, "-db", "-f", conf)
}

// firstLine is the first line that a program prints.
func firstLine(program string, args ...string) string {
	out, err := exec.Command(program, args...).CombinedOutput()
	line, _, _ := strings.Cut(string(out), "\n")
	if err != nil {
		return program
	}
	return strings.TrimPrefix(line, "nginx version: ")
}
