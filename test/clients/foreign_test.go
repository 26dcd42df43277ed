//go:build real

package clients

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
)

// need returns the path of a foreign program. Tests with real parts fail where
// one is missing: a test that skips itself tests nothing.
func need(t *testing.T, program, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%s is missing: install Debian's package %s, or run .ci/parts as root", program, debianPackage)
	}
	return path
}

func TestGrpcJS(t *testing.T) {
	node, dir := need(t, "node", "nodejs"), installGrpcJS(t)
	protos := absolute(t, "../../example/proto")
	everywhere(t, func(t *testing.T, e endpoint) {
		args := append([]string{"client.js", e.addr, protos}, e.caFile()...)
		checkJSON(t, run(t, dir, node, args...))
	})
}

// installGrpcJS returns a directory with our scripts and what they require.
func installGrpcJS(t *testing.T) string {
	t.Helper()
	npm, dir := need(t, "npm", "npm"), t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "client.js", "identity.js"} {
		copyFile(t, filepath.Join("grpcjs", name), filepath.Join(dir, name))
	}
	run(t, dir, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	return dir
}

func TestPython(t *testing.T) {
	python, descriptor := needPython(t), descriptorFile(t)
	everywhere(t, func(t *testing.T, e endpoint) {
		args := append([]string{"-B", "python/client.py", e.addr, descriptor}, e.caFile()...)
		checkJSON(t, run(t, "", python, args...))
	})
}

func needPython(t *testing.T) string {
	t.Helper()
	python := need(t, "/usr/bin/python3", "python3") // Debian's, for Debian's modules
	if out, err := exec.Command(python, "-c", "import grpc, google.protobuf").CombinedOutput(); err != nil {
		t.Fatalf("Debian's packages python3-grpcio and python3-protobuf are missing, run .ci/parts as root: %s", out)
	}
	return python
}

// descriptorFile writes the descriptor of the example's service.
func descriptorFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "echo.pb")
	encoded, err := proto.Marshal(protodesc.ToFileDescriptorProto(echov1.File_echo_v1_echo_proto))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func checkJSON(t *testing.T, out string) {
	t.Helper()
	var got conversation
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	check(t, got)
}

func TestCurl(t *testing.T) {
	curl := need(t, "curl", "curl")
	everywhere(t, func(t *testing.T, e endpoint) {
		// What is asked for, and the version of HTTP that it must come to.
		ways := map[string]string{
			"":                        "1.1",
			"--http1.0":               "1",
			"--http1.1":               "1.1",
			"--http2":                 "1.1", // an Upgrade, which is not answered
			"--http2-prior-knowledge": "2",
		}
		if e.certs != nil {
			ways = map[string]string{
				"":                        "2",
				"--http1.1":               "1.1",
				"--http2":                 "2",
				"--http2-prior-knowledge": "2",
				"--no-alpn":               "1.1",
			}
		}
		for flag, version := range ways {
			t.Run(flag, func(t *testing.T) {
				args := []string{"--silent", "--show-error", "--fail", "--max-time", "10", "--write-out", "\n%{http_version}"}
				if flag != "" {
					args = append(args, flag)
				}
				if e.certs != nil {
					args = append(args, "--cacert", e.certs.CA)
				}
				checkPage(t, "READY", version, run(t, "", curl, append(args, e.url("/internal/health"))...))
				checkPage(t, "/internal/health", version, run(t, "", curl, append(args, e.url("/internal/help"))...))
			})
		}
		t.Run("two requests on a connection", func(t *testing.T) {
			for flag := range ways {
				if flag == "--http2-prior-knowledge" && e.certs == nil {
					continue // curl 7.88 fails here with any server of Go's net/http
				}
				args := []string{"--silent", "--show-error", "--fail", "--max-time", "10", "--write-out", " %{num_connects}\n"}
				if flag != "" {
					args = append(args, flag)
				}
				if e.certs != nil {
					args = append(args, "--cacert", e.certs.CA)
				}
				out := run(t, "", curl, append(args, e.url("/internal/health"), e.url("/livez"))...)
				if flag != "--http1.0" && !strings.HasSuffix(out, " 0\n") {
					t.Errorf("%s: the second request took a new connection: %q", flag, out)
				}
			}
		})
	})
}

// checkPage wants a text in a page, and the version of HTTP in the line behind.
func checkPage(t *testing.T, text, version, out string) {
	t.Helper()
	page, got, _ := strings.Cut(out, "\n"+version)
	if !strings.Contains(page, text) || got != "" || !strings.HasSuffix(out, "\n"+version) {
		t.Errorf("want %q over HTTP/%s, got %q", text, version, out)
	}
}

func TestNghttp(t *testing.T) {
	nghttp := need(t, "nghttp", "nghttp2-client")
	everywhere(t, func(t *testing.T, e endpoint) {
		// It does not verify certificates, which is its way.
		out := run(t, "", nghttp, "--timeout=10", e.url("/internal/health"))
		if !strings.Contains(out, "READY") {
			t.Errorf("health: %q", out)
		}
		out = run(t, "", nghttp, "--timeout=10", "--stat", "--null-out", "--multiply=20", e.url("/internal/help"))
		if n := strings.Count(out, " 200 "); n != 20 {
			t.Errorf("%d of 20 requests on one connection were answered with 200:\n%s", n, out)
		}
	})
}

// TestChromium shows the help page. SCREENSHOTS names a directory to keep the
// pictures in.
func TestChromium(t *testing.T) {
	chromium := need(t, "chromium", "chromium")
	pictures := os.Getenv("SCREENSHOTS")
	if pictures == "" {
		pictures = t.TempDir()
	}
	pictures = absolute(t, pictures)
	everywhere(t, func(t *testing.T, e endpoint) {
		flags := []string{
			"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
			"--no-first-run", "--disable-background-networking", "--window-size=1200,1600",
			"--user-data-dir=" + t.TempDir(),
		}
		if e.certs != nil {
			flags = append(flags, "--ignore-certificate-errors-spki-list="+e.certs.SPKI)
		}
		dom := run(t, "", chromium, slices.Concat(flags, []string{"--dump-dom", e.url("/internal/help")})...)
		for _, want := range []string{`href="/internal/health"`, "pleaseshutdown"} {
			if !strings.Contains(dom, want) {
				t.Errorf("%q is not in the page:\n%s", want, dom)
			}
		}
		picture := filepath.Join(pictures, fmt.Sprintf("help-%s.png", e.scheme))
		run(t, "", chromium, slices.Concat(flags, []string{"--screenshot=" + picture, e.url("/internal/help")})...)
		info, err := os.Stat(picture)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() < 5000 {
			t.Errorf("the screenshot has %d bytes, which is an empty page", info.Size())
		}
	})
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}
