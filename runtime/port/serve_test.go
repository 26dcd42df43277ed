package port_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/go-easyops/easyops/runtime/port"
)

// flakyListener fails a few times before it accepts.
type flakyListener struct {
	net.Listener
	errs []error
}

func (f *flakyListener) Accept() (net.Conn, error) {
	if len(f.errs) == 0 {
		return f.Listener.Accept()
	}
	err := f.errs[0]
	f.errs = f.errs[1:]
	return nil, &net.OpError{Op: "accept", Net: "tcp", Err: err}
}

func TestAcceptErrors(t *testing.T) {
	t.Run("temporary", func(t *testing.T) {
		lis := listen(t)
		srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
		var log logBuffer
		p := port.New(&flakyListener{lis, []error{syscall.EMFILE, syscall.ECONNABORTED, syscall.EMFILE}}, srv,
			port.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		served := make(chan error, 1)
		go func() { served <- p.Serve() }()
		get(t, transport(t, nil, http1), "http://"+lis.Addr().String())
		if err := errors.Join(p.Close(), <-served); err != nil {
			t.Error(err)
		}
		if strings.Count(log.String(), "accept failed") != 3 {
			t.Errorf("log:\n%s", log.String())
		}
	})
	t.Run("for good", func(t *testing.T) {
		p := port.New(&flakyListener{listen(t), []error{syscall.EINVAL}}, &http.Server{}, port.Config{})
		if err := p.Serve(); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("serve: %v", err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestOrderOfCalls(t *testing.T) {
	t.Run("Serve twice", func(t *testing.T) {
		n := start(t)
		call(t, dial(t, n.addr, nil), "serving")
		if err := n.Serve(); err == nil {
			t.Error("no error")
		}
	})
	t.Run("Close without Serve", func(t *testing.T) {
		p := port.New(listen(t), &http.Server{}, port.Config{})
		if err := errors.Join(p.Close(), p.Close(), p.Serve()); err != nil {
			t.Error(err)
		}
	})
	t.Run("Shutdown without Serve", func(t *testing.T) {
		p := port.New(listen(t), &http.Server{}, port.Config{})
		if err := errors.Join(p.Shutdown(context.Background()), p.Shutdown(context.Background()), p.Serve(), p.Close()); err != nil {
			t.Error(err)
		}
	})
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	lis, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	p := port.New(lis, &http.Server{}, port.Config{MaxConnsPerIP: 1})
	s := grpc.NewServer(grpc.Creds(p.Credentials()))
	testpb.RegisterTestServiceServer(s, &echo{})
	go func() { _ = s.Serve(p.GRPCListener()) }()
	go func() { _ = p.Serve() }()
	defer func() { s.Stop(); _ = p.Close() }()
	for range 3 {
		cc, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cc.Close() }()
		call(t, testpb.NewTestServiceClient(cc), "x")
	}
}

func TestIsGRPC(t *testing.T) {
	for _, tc := range []struct {
		method, contentType string
		major               int
		want                bool
	}{
		{"POST", "application/grpc", 2, true},
		{"POST", "application/grpc+proto", 2, true},
		{"POST", "application/grpc-web", 2, false},
		{"POST", "application/grpc", 1, false},
		{"PRI", "application/grpc", 2, false},
		{"POST", "", 2, false},
	} {
		r := &http.Request{Method: tc.method, ProtoMajor: tc.major, Header: http.Header{"Content-Type": {tc.contentType}}}
		if got := port.IsGRPC(r); got != tc.want {
			t.Errorf("%+v: got %t", tc, got)
		}
	}
}

// Foreign credentials and connections are refused, not trusted.
func TestCredentials(t *testing.T) {
	creds := start(t, secure).Credentials()
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	if _, _, err := creds.ServerHandshake(a); err == nil {
		t.Error("a connection from elsewhere was taken for TLS")
	}
	if _, _, err := creds.ClientHandshake(timeout(t), "x", b); err == nil {
		t.Error("a client was let through")
	}
	if got := creds.Clone().Info().SecurityProtocol; got != "tls" {
		t.Errorf("security protocol %q", got)
	}
}
