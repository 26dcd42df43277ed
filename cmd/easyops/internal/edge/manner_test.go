package edge

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// silent is a registry that says nothing until it is told to.
type silent struct {
	registry.Registry
	speak <-chan struct{}
}

func (s silent) Watch(ctx context.Context, service string, update func([]registry.Instance, error)) {
	select {
	case <-s.speak:
		s.Registry.Watch(ctx, service, update)
	case <-ctx.Done():
	}
}

// TestMeetFirst: an edge does not take over before it knows where services are, and is
// not ready before.
func TestMeetFirst(t *testing.T) {
	p := newPlace(t)
	p.serve("a", named("a"))
	speak := make(chan struct{})
	c := p.config("tcp:\n" + tcpRoute(freeAddr(t), "a") + "http: [{service: page}]\n")
	e, f, err := newEdge(c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.release() }()
	_ = e.table.Close()
	e.registry = silent{e.registry, speak}
	if err := e.makeRoutes(f); err != nil {
		t.Fatal(err)
	}
	change, err := e.ports.prepare(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	change.commit()
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for _, want := range []string{"a, page", "-easyops.registry", "local registry in "} {
		if err := e.acquaint(short); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	e.end() // as if the time were over
	if err := e.meetFirst(&prior{pid: 42}); err == nil || !strings.Contains(err.Error(), "process 42") || !strings.Contains(err.Error(), "--take-over-anyway") {
		t.Error(err)
	}
	if err := e.meetFirst(nil); err != nil {
		t.Errorf("where no edge runs: %v", err)
	}
	close(speak)
	if err := e.acquaint(t.Context()); err != nil {
		t.Error(err)
	}
	if err := e.meetFirst(&prior{}); err != nil {
		t.Error(err)
	}
}

// TestMeetFirstByPatterns asks which services there are, as it knows no name.
func TestMeetFirstByPatterns(t *testing.T) {
	p := newPlace(t)
	e := p.start(p.config("grpc: [{service: \"*\", allow: EVERYONE}]\n"))
	await(t, "the first answer", e.acquainted.Load)
}

// TestOtherManner: an edge that would serve in a worse manner does not take over by
// mistake, and the one that runs goes on.
func TestOtherManner(t *testing.T) {
	p := newPlace(t)
	p.serve("a", named("a"))
	addr := freeAddr(t)
	text := "tcp:\n" + tcpRoute(addr, "a")
	first, file, err := newEdge(p.config(text))
	if err != nil {
		t.Fatal(err)
	}
	first.manner.Auth, first.manner.TLS, first.manner.Verifies = "oidc:https://id.example.com", true, true
	if err := first.start(file); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = first.Shutdown(context.Background()) })
	c := p.config(text)
	if err := c.Flags.Set("easyops.registry", "local:"+filepath.Join(p.dir, "other")); err != nil {
		t.Fatal(err)
	}
	if _, err = Start(c); err == nil {
		t.Fatal("it takes over")
	}
	for _, want := range []string{"-easyops.registry", "-easyops.auth", "standalone", "has TLS", "-easyops.tls-ca", "--take-over-anyway", p.registry[len("local:"):]} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	open := dial(t, first.TCPAddr(addr))
	if got := say(t, open, "x"); got != "a x" {
		t.Error(got)
	}
	open.Close()
	c.Anyway = true
	c.File = filepath.Join(p.dir, "others.yaml")
	if err := os.Rename(filepath.Join(p.dir, "routes.yaml"), c.File); err != nil {
		t.Fatal(err)
	}
	p.start(c)
	if err := first.Wait(); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"another manner", "another routes file", "was=" + filepath.Join(p.dir, "routes.yaml")} {
		if !strings.Contains(p.log.text(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
}

// TestMannerLoses: what gets better, or only other, is no hindrance.
func TestMannerLoses(t *testing.T) {
	was := manner{Registry: "r", Auth: "mtls"}
	for _, next := range []manner{was, {Registry: "r", Auth: "mtls,jwks:x"}, {Registry: "r", Auth: "mtls", TLS: true, Verifies: true, File: "/other"}} {
		if err := was.loses(next); err != nil {
			t.Errorf("%+v: %v", next, err)
		}
	}
	if err := was.loses(manner{Registry: "r", Auth: "insecure-none"}); err == nil {
		t.Error("it would let everyone in")
	}
	if err := (manner{Registry: "r", Auth: "insecure-none"}).loses(manner{Registry: "r"}); err != nil {
		t.Error(err)
	}
}
