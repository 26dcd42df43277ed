package status

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDescribe(t *testing.T) {
	s := Describe(echoService(t), echoComments, echoRule)
	if s.Name != "echo.v1.EchoService" || !strings.HasPrefix(s.Comment, "EchoService sends") || len(s.Methods) != 4 {
		t.Fatalf("service: %+v", s)
	}
	voices := []string{"VOICE_UNSPECIFIED", "VOICE_LOUD"}
	want := Method{
		Name: "Echo", Comment: echoComments["Echo"], Kind: Unary, Idempotency: "NO_SIDE_EFFECTS",
		Rule: Rule{Access: "users in group staff", Token: true, Deadline: Seconds(5 * time.Second)},
		Request: &Message{"echo.v1.EchoRequest", []Field{
			{Name: "message", Number: 1, Type: "string"},
			{Name: "count", Number: 2, Type: "int32"},
			{Name: "voice", Number: 3, Type: "echo.v1.Voice", Values: voices},
			{Name: "delay", Number: 4, Type: "google.protobuf.Duration", Message: "google.protobuf.Duration"},
			{Name: "tags", Number: 5, Type: "repeated string"},
			{Name: "style", Number: 6, Type: "echo.v1.Style", Message: "echo.v1.Style"},
		}},
		Response: &Message{"echo.v1.EchoResponse", []Field{{Name: "message", Number: 1, Type: "string"}}},
		Example:  `{"message":"text","count":1,"voice":"VOICE_UNSPECIFIED","delay":"1s","tags":["text"],"style":{"font":"text","inner":[{}]}}`,
	}
	if diff := cmp.Diff(want, s.Methods[0]); diff != "" {
		t.Error(diff)
	}
	var kinds []Kind
	for _, m := range s.Methods {
		kinds = append(kinds, m.Kind)
	}
	if diff := cmp.Diff([]Kind{Unary, ServerStreaming, ClientStreaming, Bidirectional}, kinds); diff != "" {
		t.Error(diff)
	}
	wantMessages := []Message{{"echo.v1.Style", []Field{
		{Name: "font", Number: 1, Type: "string"},
		{Name: "inner", Number: 2, Type: "repeated echo.v1.Style", Message: "echo.v1.Style"},
	}}}
	if diff := cmp.Diff(wantMessages, s.Messages); diff != "" {
		t.Error(diff)
	}
	if !s.Methods[2].Deprecated || s.Methods[0].Deprecated {
		t.Error("deprecation is lost")
	}
}

func TestDescribeWithoutCommentsAndRules(t *testing.T) {
	s := Describe(echoService(t), nil, nil)
	if s.Comment != "" || s.Methods[0].Access != "" {
		t.Errorf("service: %+v", s)
	}
}

func TestExamplesAreJSON(t *testing.T) {
	sd := echoService(t)
	for i := range sd.Methods().Len() {
		if ex := example(sd.Methods().Get(i).Input()); !json.Valid([]byte(ex)) {
			t.Errorf("not JSON: %s", ex)
		}
	}
	for name, ex := range wellKnown {
		if !json.Valid([]byte(ex)) {
			t.Errorf("%s: not JSON: %s", name, ex)
		}
	}
}

func TestAPIPage(t *testing.T) {
	f := newFixture(t)
	host := strings.TrimPrefix(f.URL, "http://")
	f.asOperator("GET", "/internal/service-info/api").want(t, 200,
		"Echo answers with the message", "users in group staff", "5 s, or the caller's own", "safe: no side effects",
		"grpcurl -plaintext -H \"authorization: Bearer $TOKEN\" -d '{", host+" echo.v1.EchoService/Echo",
		"grpcurl -plaintext -d", "Collect [client streaming] [deprecated]", "grpc.health.v1.Health")
	a := f.asOperator("GET", "/internal/service-info/api", "Accept", "application/json")
	var got struct{ Services []Service }
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(withTraffic(echoServices(t), f.overview().Methods), got.Services); diff != "" {
		t.Errorf("the JSON form does not carry everything: %s", diff)
	}
}

func TestCommandUsesTheGRPCAddress(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.GRPCAddr = "10.0.0.7:4100" })
	f.asOperator("GET", "/internal/service-info/api").want(t, 200, "10.0.0.7:4100 echo.v1.EchoService/Echo")
}

// What the commands show is what the server wants of callers.
func TestCommandsShowWhoCalls(t *testing.T) {
	const (
		grpcToken = `-H "authorization: Bearer $TOKEN" -d`
		curlToken = `--cacert ca.pem -H "authorization: Bearer $TOKEN"`
		orCert    = "calls with -cert cert.pem -key key.pem in place of -H"
		onlyCert  = "add -cert cert.pem -key key.pem"
		curlCert  = "--cacert ca.pem --cert cert.pem --key key.pem"
	)
	const api, help, debug, stop = "/internal/service-info/api", "/internal/help", "/internal/debug/info", "/internal/pleaseshutdown"
	for name, test := range map[string]struct {
		secure, tokens, certificates bool
		page                         string
		code                         int
		want, unwanted               []string
	}{
		"plaintext":             {page: api, code: 200, want: []string{"grpcurl -plaintext"}, unwanted: []string{"ca.pem", onlyCert, orCert}},
		"TLS":                   {secure: true, page: api, code: 200, want: []string{"grpcurl -cacert ca.pem"}, unwanted: []string{"-plaintext", onlyCert, orCert}},
		"certificates":          {secure: true, certificates: true, page: api, code: 200, want: []string{onlyCert}, unwanted: []string{orCert}},
		"both":                  {secure: true, tokens: true, certificates: true, page: api, code: 200, want: []string{"grpcurl -cacert ca.pem " + grpcToken, orCert}},
		"both on the help":      {secure: true, tokens: true, certificates: true, page: help, code: 200, want: []string{"grpcurl -cacert ca.pem " + grpcToken, orCert}},
		"profiles":              {page: debug, code: 200, want: []string{"go tool pprof -http=: http://"}, unwanted: []string{"ca.pem", "TOKEN"}},
		"profiles by token":     {secure: true, tokens: true, page: debug, code: 200, want: []string{"-o cpu.pb.gz 'https://", curlToken + " && go tool pprof -http=: cpu.pb.gz", "seconds=5' " + curlToken}},
		"a POST by token":       {secure: true, tokens: true, page: stop, code: 405, want: []string{"curl -X POST https://", stop + " " + curlToken}},
		"a POST by certificate": {secure: true, certificates: true, page: stop, code: 405, want: []string{stop + " " + curlCert}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, func(c *Config) { c.Tokens, c.Certificates = test.tokens, test.certificates })
			if test.secure {
				f.secure()
			}
			a := f.asOperator("GET", test.page)
			a.want(t, test.code, test.want...)
			for _, part := range test.unwanted {
				if strings.Contains(a.body, part) {
					t.Errorf("%q is on the page:\n%s", part, a.body)
				}
			}
		})
	}
}

// TestContentsOfTheAPI: the contents name what is the server's own, and the hint
// about certificates stands below the first command.
func TestContentsOfTheAPI(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Tokens, c.Certificates = true, true })
	f.secure()
	a := f.asOperator("GET", apiPath, "Accept", "text/html")
	a.want(t, 200, `id="grpc.health.v1.Health"`)
	_, toc, _ := strings.Cut(a.body, `<nav class="toc"`)
	toc, main, _ := strings.Cut(toc, "</nav>")
	for _, want := range []string{`href="#echo.v1.EchoService"`, "Echo<wbr>Service", `href="#infrastructure"`} {
		if !strings.Contains(toc, want) {
			t.Errorf("%q is missing in %s", want, toc)
		}
	}
	if strings.Contains(toc, "#grpc.health") {
		t.Error("the contents name what every server has")
	}
	if command, hint := strings.Index(main, "grpcurl"), strings.Index(main, "-cert cert.pem"); command < 0 || hint < command || strings.Count(main, "-cert cert.pem") != 1 {
		t.Errorf("the hint is at %d, the command at %d", hint, command)
	}
}

func TestShellQuote(t *testing.T) {
	if got := shellQuote(`it's`); got != `'it'\''s'` {
		t.Error(got)
	}
}

// A rule that the server cannot enforce must not look like one that it does.
func TestRuleThatIsNotEnforced(t *testing.T) {
	for _, not := range []bool{false, true} {
		kv := Method{Rule: Rule{Access: "USERS", NotEnforced: not}}.rules()
		if says := strings.Contains(kv[0].Value.Text, "not enforced"); says != not {
			t.Errorf("not enforced %v: %q", not, kv[0].Value.Text)
		}
	}
}
