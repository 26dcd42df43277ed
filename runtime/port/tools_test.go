package port_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// tool returns the path of an installed program or skips the test.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed: this client is not checked", name)
	}
	return path
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	b, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, b)
	}
	return string(b)
}

func TestCurl(t *testing.T) {
	curl := tool(t, "curl")
	plain, enc := start(t), start(t, secure)
	for _, tc := range []struct {
		name, want string
		args       []string
	}{
		{"default", "HTTP/1.1 tls=false", []string{"http://" + plain.addr}},
		{"--http2 (an Upgrade, which is not taken)", "HTTP/1.1 tls=false", []string{"--http2", "http://" + plain.addr}},
		{"--http2-prior-knowledge", "HTTP/2.0 tls=false", []string{"--http2-prior-knowledge", "http://" + plain.addr}},
		{"https", "HTTP/2.0 tls=true", []string{"-k", "https://" + enc.addr}},
		{"https --no-alpn", "HTTP/1.1 tls=true", []string{"-k", "--no-alpn", "https://" + enc.addr}},
		{"https --http1.1", "HTTP/1.1 tls=true", []string{"-k", "--http1.1", "https://" + enc.addr}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			url := tc.args[len(tc.args)-1]
			args := append([]string{"-sS", "--max-time", "10"}, tc.args...)
			want := tc.want
			if tc.name != "--http2-prior-knowledge" { // where curl 7.88 reuses no connection, of no server
				args, want = append(args, url, url), want+want+want
			}
			if got := output(t, curl, args...); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
	t.Run("a body larger than the first window", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "body")
		body := strings.Repeat("0123456789abcdef", 40_000)
		if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		got := output(t, curl, "-sS", "--max-time", "10", "--http2-prior-knowledge", "--data-binary", "@"+file, "http://"+plain.addr+"/body")
		if !strings.HasPrefix(got, body) {
			t.Errorf("%d bytes came back, want %d", len(got), len(body))
		}
	})
}

func TestNghttp(t *testing.T) {
	nghttp := tool(t, "nghttp")
	plain, enc := start(t), start(t, secure)
	for _, url := range []string{"http://" + plain.addr + "/", "https://" + enc.addr + "/"} {
		got := output(t, nghttp, "-v", "-m", "3", "--no-verify-peer", url)
		if n := strings.Count(got, ":status: 200"); n != 3 || strings.Contains(got, "PROTOCOL_ERROR") {
			t.Errorf("%s: %d answers\n%s", url, n, got)
		}
	}
}

// Every kind of client at the same time on one port.
func TestMixedTraffic(t *testing.T) {
	for name, n := range map[string]*node{"plaintext": start(t), "TLS": start(t, secure)} {
		t.Run(name, func(t *testing.T) {
			cfg, url := clientTLS(), "https://"+n.addr
			if name == "plaintext" {
				cfg, url = nil, "http://"+n.addr
			}
			second := h2c
			if cfg != nil {
				second = http2
			}
			transports := []*http.Transport{transport(t, cfg, http1), transport(t, cfg, second)}
			if cfg != nil {
				transports = append(transports, transport(t, cfg, http1, http2))
			}
			var wg sync.WaitGroup
			for range 4 {
				c := dial(t, n.addr, cfg)
				wg.Go(func() {
					for range 50 {
						call(t, c, strings.Repeat("x", 20_000))
					}
				})
				for _, tr := range transports {
					wg.Go(func() {
						for range 25 {
							if got := get(t, tr, url); !strings.HasPrefix(got, "HTTP/") {
								t.Errorf("got %q", got)
							}
						}
						if tr != transports[0] {
							grpcOverHTTP(t, tr, url)
						}
					})
				}
			}
			wg.Wait()
		})
	}
}
