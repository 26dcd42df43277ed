package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-easyops/easyops/test/etcdserver"
)

// cluster is an etcd, three echoes and a greeter with certificates.
type cluster struct {
	*identities
	etcd     *etcdserver.Cluster
	programs []*exec.Cmd
	http     *http.Client
}

// addrs are fixed, so that pictures differ in nothing but what they show.
var (
	echoes  = []string{"127.0.0.1:4101", "127.0.0.1:4102", "127.0.0.1:4103"}
	greeter = "127.0.0.1:4110"
)

const (
	echoService    = "echo.v1.EchoService"
	greeterService = "greeter.v1.GreeterService"
	patience       = 30 * time.Second
)

func startCluster(ctx context.Context, dir, bin string) (c *cluster, err error) {
	c = &cluster{}
	defer func() {
		if err != nil {
			c.stop()
		}
	}()
	if c.identities, err = newIdentities(dir); err != nil {
		return c, err
	}
	c.http = &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.pool(), MinVersion: tls.VersionTLS13}}}
	if c.etcd, err = etcdserver.Start(dir, 1); err != nil {
		return c, err
	}
	for _, addr := range echoes {
		if err := c.start(filepath.Join(bin, "echo"), echoService, addr); err != nil {
			return c, err
		}
	}
	if err := c.start(filepath.Join(bin, "greeter"), greeterService, greeter); err != nil {
		return c, err
	}
	for _, addr := range append([]string{greeter}, echoes...) {
		if err := c.await(ctx, addr); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (c *cluster) start(program, service, addr string) error {
	cert, key, err := c.files(service)
	if err != nil {
		return err
	}
	var log bytes.Buffer
	cmd := exec.Command(program,
		"-easyops.addr="+addr, "-easyops.registry="+c.etcd.URL(), "-easyops.tags=zone=eu-1",
		"-easyops.tls-cert="+cert, "-easyops.tls-key="+key, "-easyops.tls-ca="+c.caFile,
		"-easyops.auth=mtls,"+c.spec(), "-easyops.operators=group:sre",
	)
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "EASYOPS_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us
	if err := cmd.Start(); err != nil {
		return err
	}
	c.programs = append(c.programs, cmd)
	return nil
}

func (c *cluster) await(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for ; ; time.Sleep(50 * time.Millisecond) {
		if c.do(ctx, http.MethodGet, addr, "/readyz", "") == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s does not serve: is it another program's?", addr)
		}
	}
}

// do makes a request as the operator.
func (c *cluster) do(ctx context.Context, method, addr, path, form string) error {
	req, err := http.NewRequestWithContext(ctx, method, "https://"+addr+path, strings.NewReader(form))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.token("ada", "sre"))
	if form != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s%s: %s", method, addr, path, resp.Status)
	}
	return nil
}

func (c *cluster) stop() {
	for _, p := range c.programs {
		_ = p.Process.Signal(syscall.SIGTERM)
	}
	for _, p := range c.programs {
		if err := p.Wait(); err != nil {
			slog.Warn("ended", "program", p.Path, "err", err) //nolint:sloglint // a command
		}
	}
	if c.etcd != nil {
		c.etcd.Close()
	}
}
