//go:build real

package edge

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/test/browser"
	"github.com/go-easyops/easyops/test/serve"
)

// TestPython calls all kinds of methods through the edge with Debian's grpcio.
func TestPython(t *testing.T) {
	s := startSecured(t)
	descriptor := filepath.Join(t.TempDir(), "echo.pb")
	encoded, err := proto.Marshal(protodesc.ToFileDescriptorProto(echov1.File_echo_v1_echo_proto))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(descriptor, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	var in strings.Builder
	for _, c := range s.callers() {
		_ = json.NewEncoder(&in).Encode(map[string]string{"cert": "", "key": "", "user": c.token, "service": c.service})
	}
	cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", "-B", "../clients/python/identity.py", s.addr, descriptor, s.ca)
	cmd.Env, cmd.Stdin = serve.Environment(), strings.NewReader(in.String())
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: Debian's python3-grpcio and python3-protobuf are needed, run .ci/parts as root\n%s", err, out)
	}
	answers := json.NewDecoder(strings.NewReader(string(out)))
	for _, c := range s.callers() {
		var got struct{ Who, Echo, Repeat, Collect, Chat string }
		if err := answers.Decode(&got); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		want := "OK"
		if c.who == "" {
			want = "Unauthenticated"
		}
		if got.Echo != want || got.Repeat != want || got.Collect != want || got.Chat != want {
			t.Errorf("%s: %+v, want %s", c.name, got, want)
		}
	}
}

// TestCurl asks for the page through the edge with curl.
func TestCurl(t *testing.T) {
	s := startSecured(t)
	for _, version := range []string{"--http1.1", "--http2"} {
		for _, c := range s.callers() {
			args := []string{"--silent", "--show-error", "--max-time", "10", "--cacert", s.ca, version, "--write-out", "\n%{http_code} %{http_version}"}
			kv := c.headers()
			for i := 0; i < len(kv); i += 2 {
				args = append(args, "--header", kv[i]+": "+kv[i+1])
			}
			cmd := exec.CommandContext(t.Context(), "curl", append(args, "https://"+s.addr+"/a?b=c")...)
			cmd.Env = serve.Environment()
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("curl: %v\n%s", err, out)
			}
			at := strings.LastIndex(string(out), "\n")
			status, spoken, _ := strings.Cut(string(out[at+1:]), " ")
			if want := strings.TrimPrefix(version, "--http"); spoken != want {
				t.Errorf("%s: HTTP/%s, want %s", c.name, spoken, want)
			}
			code, _ := strconv.Atoi(status)
			checkPage(t, c, s.addr, code, out[:at])
		}
	}
}

// TestChromium shows the page to a browser that sends a token along.
func TestChromium(t *testing.T) {
	s := startSecured(t)
	ctx, stop, err := browser.New(context.Background(), spki(t, s.cert))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	tab, shut, err := browser.NewTab(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer shut()
	look := browser.Look{Width: browser.DesktopWidth, Height: browser.DesktopHeight}
	for _, c := range s.callers() {
		kv, headers := c.headers(), network.Headers{}
		for i := 0; i < len(kv); i += 2 {
			headers[kv[i]] = kv[i+1]
		}
		if _, err := chromedp.Call(tab, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: headers}); err != nil {
			t.Fatal(err)
		}
		code, err := tab.Open("https://"+s.addr+"/a?b=c", look)
		if err != nil {
			t.Fatalf("%s: %v %v", c.name, err, tab.Complaints())
		}
		text, err := chromedp.Run(tab, chromedp.Evaluate[string]("document.body.innerText"))
		if err != nil {
			t.Fatal(err)
		}
		checkPage(t, c, s.addr, int(code), []byte(text))
	}
}

// spki is the public key of a certificate as Chromium names it.
func spki(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}
