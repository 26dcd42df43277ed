package status

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-easyops/easyops/runtime/flags"
)

const canary = "canary-5be1"

// parameterFixture is a server with flags of each sort.
type parameterFixture struct {
	*fixture
	set   *flags.Set
	limit *flags.Flag[int]
	mode  *flags.Flag[string]
	names *flags.Flag[[]string]
}

func newParameterFixture(t testing.TB) *parameterFixture {
	t.Helper()
	fs := flag.NewFlagSet(t.Name(), flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	f := &parameterFixture{
		fixture: newFixture(t),
		limit: flags.New("limit", 100, "most items in an <answer>", flags.In(fs), flags.Validate(func(n int) error {
			if n < 1 {
				return errors.New("below 1: use 1 or more")
			}
			return nil
		})),
		mode:  flags.New("mode", "fast", "how", flags.In(fs), flags.OneOf("fast", "safe")),
		names: flags.New("names", []string{"a"}, "who", flags.In(fs)),
	}
	flags.New("on", false, "whether", flags.In(fs))
	flags.New("api-token", "", "what it proves", flags.In(fs))
	flags.New("db", "", "where", flags.In(fs))
	fs.Int("theirs", 7, "of another maker")
	if err := fs.Parse([]string{"-api-token=" + canary, "-db=pg://me:" + canary + "@db/x", "-theirs=8"}); err != nil {
		t.Fatal(err)
	}
	f.set = flags.NewSet(fs, nil)
	if err := f.pages.HandleParameters(f.set); err != nil {
		t.Fatal(err)
	}
	return f
}

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

// post sends a body as alice, and asks for JSON where that is its type.
func (f *fixture) post(path, contentType, body string) answer {
	f.t.Helper()
	r, err := http.NewRequest(http.MethodPost, f.URL+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	r.Header.Set(operatorHeader, "alice")
	r.Header.Set("Content-Type", contentType)
	if contentType == jsonType {
		r.Header.Set("Accept", jsonType)
	}
	return f.send(r)
}

func (f *parameterFixture) data(a answer) (d ParametersData) {
	f.t.Helper()
	if err := json.Unmarshal([]byte(a.body), &d); err != nil {
		f.t.Fatal(err, a.body)
	}
	return d
}

func (f *parameterFixture) unchanged(t *testing.T) {
	t.Helper()
	if f.limit.Get() != 100 || f.mode.Get() != "fast" || len(f.names.Get()) != 1 || len(f.set.History()) != 0 {
		t.Error("something has changed:", f.limit.Get(), f.mode.Get(), f.names.Get(), f.set.History())
	}
}

func TestParametersList(t *testing.T) {
	f := newParameterFixture(t)
	d := f.data(f.asOperator("GET", parametersPath+"?format=json"))
	if d.Total != 7 || len(d.Parameters) != 7 || d.Parameters[0].Name != "api-token" || d.History == nil {
		t.Errorf("%+v", d)
	}
	for _, p := range d.Parameters {
		if p.Dynamic != (p.Name != "theirs" && p.Name != "api-token") {
			t.Errorf("%+v", p)
		}
	}
	html := f.asOperator("GET", parametersPath+"?format=html")
	html.want(t, 200, `href="/internal/parameters?name=limit"`, "&lt;answer&gt;", "REDACTED", "dynamic", "secret", "static", "pg://REDACTED@db/x", "--data-urlencode")
	f.asOperator("GET", parametersPath+"?filter=whether&format=text").want(t, 200, "on", "1 flag that matches")
	f.asOperator("GET", parametersPath+"?sort=colour").want(t, 400, "name")
}

func TestParameterPage(t *testing.T) {
	f := newParameterFixture(t)
	for name, want := range map[string][]string{
		"limit":     {`<input type="text" name="limit" value="100"`, `name="-ttl"`, `name="-reason"`, "all flags"},
		"mode":      {`<select name="mode"><option value="fast" selected>fast</option><option value="safe">`},
		"on":        {`<option value="false" selected>`},
		"names":     {`value="a"`, "Such as a,b"},
		"db":        {`name="db" value=""`, "not shown here in full"},
		"theirs":    {"restart it with the new value"},
		"api-token": {"It is secret", "REDACTED"},
	} {
		a := f.asOperator("GET", parametersPath+"?format=html&name="+name)
		a.want(t, 200, want...)
		if form := strings.Contains(a.body, `name="-ttl"`); form != (name != "theirs" && name != "api-token") {
			t.Errorf("%s: a form: %v", name, form)
		}
	}
	d := f.data(f.asOperator("GET", parametersPath+"?format=json&name=limit"))
	if len(d.Parameters) != 1 || d.Parameters[0].Value != "100" {
		t.Errorf("%+v", d)
	}
	f.asOperator("GET", parametersPath+"?name=none").want(t, 404, "there is no flag")
}

func TestParametersChange(t *testing.T) {
	f := newParameterFixture(t)
	f.post(parametersPath+"?reason=ticket+7", formType, "limit=200&mode=safe").want(t, 200, "limit", "100", "200", "safe")
	if f.limit.Get() != 200 || f.mode.Get() != "safe" {
		t.Error(f.limit.Get(), f.mode.Get())
	}
	a := f.post(parametersPath+"?ttl=300&reason=why", jsonType, `{"limit": 300, "names": ["b", "c,d"], "on": true}`)
	a.want(t, 200)
	d := f.data(a)
	if len(d.Changed) != 3 || d.Changed[0].Name != "limit" || d.Changed[0].Old != "200" || d.Changed[0].New != "300" ||
		d.Changed[0].Who != "alice" || d.Changed[0].Reason != "why" || time.Until(d.Changed[0].Reverts).Round(time.Second) != 5*time.Minute ||
		d.Parameters[0].RevertsTo != "200" || d.Parameters[0].Source != "operator" || d.DryRun {
		t.Errorf("%+v", d)
	}
	if names := f.names.Get(); len(names) != 2 || names[1] != "c,d" {
		t.Error(names)
	}
	f.asOperator("GET", parametersPath+"?format=html").want(t, 200, "Changed for a time", "for a time", "in 4 min 59 s", "ticket 7")
	f.asOperator("GET", parametersPath+"?format=html&name=limit").want(t, 200, "Goes back to")
	if d := f.data(f.asOperator("GET", parametersPath+"?format=json")); len(d.History) != 5 || d.History[0].Name != "on" {
		t.Errorf("%+v", d.History)
	}
	log := f.log.String()
	for _, want := range []string{
		`"what":"limit, mode","old":"limit=100, mode=fast","new":"limit=200, mode=safe","reason":"ticket 7"`,
		`"what":"limit, names, on"`, `"reason":"why"`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s:\n%s", want, log)
		}
	}
}

// TestParametersForm: what the page's own form sends.
func TestParametersForm(t *testing.T) {
	f := newParameterFixture(t)
	f.post(parametersPath, formType, "limit=200&-ttl=&-reason=").want(t, 200)
	if i, _ := f.set.Lookup("limit"); i.Value != "200" || !i.Reverts.IsZero() {
		t.Errorf("%+v", i)
	}
	f.post(parametersPath, formType, url.Values{"limit": {"300"}, "-ttl": {"5m"}, "-reason": {"by hand"}}.Encode()).want(t, 200)
	if i, _ := f.set.Lookup("limit"); i.Value != "300" || i.Reverts.IsZero() || f.set.History()[0].Reason != "by hand" {
		t.Errorf("%+v", i)
	}
	if !strings.Contains(f.log.String(), `"reason":"by hand"`) {
		t.Error(f.log)
	}
	f.post(parametersPath+"?ttl=1m", formType, "limit=200&-ttl=5m").want(t, 400, "ttl is in the query and in the form")
}

// TestParametersSuperseded: what does not go back is not said to.
func TestParametersSuperseded(t *testing.T) {
	f := newParameterFixture(t)
	f.post(parametersPath+"?ttl=5m", formType, "limit=200").want(t, 200)
	f.post(parametersPath, formType, "limit=300").want(t, 200)
	f.asOperator("GET", parametersPath+"?format=html&name=limit").want(t, 200, "no: a later change decides")
	d := f.data(f.asOperator("GET", parametersPath+"?format=json"))
	if d.History[0].Superseded || !d.History[1].Superseded {
		t.Errorf("%+v", d.History)
	}
}

// TestParameterCommand: the command of the page does what its form does.
func TestParameterCommand(t *testing.T) {
	f := newParameterFixture(t)
	f.asOperator("GET", parametersPath+"?format=text&name=limit").want(t, 200, "curl --data-urlencode limit=100 "+f.URL+parametersPath+"\n")
}

// TestParametersWithStuckWatcher: the change is answered and in the audit log; what
// is wrong is in the answer and on the pages.
func TestParametersWithStuckWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := flag.NewFlagSet(t.Name(), flag.ContinueOnError)
		let := make(chan bool)
		defer close(let)
		flags.New("mode", "fast", "", flags.In(fs))
		flags.New("limit", 100, "", flags.In(fs)).OnChange(func(_, to int) {
			if to == 1 {
				panic("oh")
			}
			<-let
		})
		log := &lines{}
		p, err := New(Config{Name: "echo", Operator: testOperator, Logger: slog.New(slog.NewJSONHandler(log, nil))})
		if err == nil {
			err = p.HandleParameters(flags.NewSet(fs, nil))
		}
		if err != nil {
			t.Fatal(err)
		}
		ask := func(method, query, body, accept string, want ...string) {
			t.Helper()
			r := httptest.NewRequestWithContext(t.Context(), method, "http://127.0.0.1"+parametersPath+query, strings.NewReader(body))
			r.Header = http.Header{operatorHeader: {"alice"}, "Content-Type": {formType}, "Accept": {accept}}
			w := httptest.NewRecorder()
			p.Handler().ServeHTTP(w, r)
			for _, text := range append(want, "") {
				if w.Code != 200 || !strings.Contains(w.Body.String(), text) {
					t.Errorf("%s %s %s: %d, no %q in %s", method, query, body, w.Code, text, w.Body)
				}
			}
		}
		const stuck = "the function of limit has not returned; those of later changes wait"
		ask("POST", "", "limit=1", jsonType, `"warning": "the function of limit panicked: the log has its stack"`)
		ask("POST", "", "limit=2", asHTML, "Warning: "+stuck)
		ask("POST", "", "limit=3", jsonType, `"warning": "`+stuck+`"`)
		for _, query := range []string{"", "?name=mode"} {
			ask("GET", query, "", asHTML, "The function of limit that is called for its changes has not returned")
			ask("GET", query, "", jsonType, `"stuck": [`)
		}
		if all := log.audits(t); len(all) != 3 || all[1]["old"] != "1" || all[1]["new"] != "2" {
			t.Error(all)
		}
	})
}

// TestRefusedChangesAreRecorded: with what was and what was to be, secrets apart.
func TestRefusedChangesAreRecorded(t *testing.T) {
	f := newParameterFixture(t)
	for _, c := range []struct{ contentType, body, what, from, to string }{
		{formType, "limit=x", "limit", "100", "x"},
		{formType, "limit=7&mode=y", "limit, mode", "limit=100, mode=fast", "limit=7, mode=y"},
		{formType, "limit=7&limit=8", "limit", "100", "7 and 8"},
		{formType, "api-token=" + canary, "api-token", "REDACTED", "REDACTED"},
		{formType, "api-tokn=" + canary, "api-tokn", "", "REDACTED"},
		{formType, "db=pg://me:" + canary + "@db/y%0A", "db", "pg://REDACTED@db/x", `pg://REDACTED@db/y\u{a}`},
		{formType, "db=pg://me:" + canary + "%0Ax@db/y", "db", "pg://REDACTED@db/x", "pg://REDACTED@db/y"},
		{formType, "mode=" + strings.Repeat("x", 5000), "mode", "fast", strings.Repeat("x", 256) + "…"},
		{formType, `{"limit": 7}`, "limit", "100", "7"},
		{jsonType, `{"limit": {"a": 1}}`, "limit", "100", `{"a":1}`},
		{jsonType, `{"limit": 7, "limit": null}`, "limit", "100", "7 and null"},
	} {
		f.post(parametersPath, c.contentType, c.body+map[string]string{formType: "&-reason=why"}[c.contentType]).want(t, 400)
		lines := f.log.audits(t)
		line := lines[len(lines)-1]
		if line["what"] != c.what || line["old"] != c.from || line["new"] != c.to || line["outcome"] != "refused" {
			t.Errorf("%s: %v", c.body, line)
		}
		if c.contentType == formType && c.body[0] != '{' && line["reason"] != "why" {
			t.Errorf("%s: reason %q", c.body, line["reason"])
		}
		last := f.pages.recentActions()[0]
		if last.Old != c.from || last.New != c.to || last.Error != line["err"] || !strings.HasPrefix(last.Error, "nothing is changed: ") {
			t.Errorf("%s: %+v", c.body, last)
		}
	}
	f.unchanged(t)
}

func TestParametersDryRun(t *testing.T) {
	f := newParameterFixture(t)
	for _, query := range []string{"?dry_run", "?dry_run=true", "?dry_run=1&ttl=5m"} {
		d := f.data(f.post(parametersPath+query, jsonType, `{"limit": 7}`))
		if !d.DryRun || len(d.Changed) != 1 || d.Changed[0].New != "7" || d.Parameters[0].Value != "100" {
			t.Errorf("%+v", d)
		}
	}
	f.post(parametersPath+"?dry_run", formType, "limit=7").want(t, 200, "dry run")
	f.unchanged(t)
	if log := f.log.String(); !strings.Contains(log, `"what":"limit (dry run)"`) {
		t.Error(log)
	}
}

// TestParametersRefused: everything that is wrong is a 400 that names it, and
// changes nothing, also of what was right.
func TestParametersRefused(t *testing.T) {
	f := newParameterFixture(t)
	for _, c := range []struct {
		query, contentType, body string
		code                     int
		want                     string
	}{
		{"", formType, "limit=200&mode=slow", 400, `mode: "slow": not one of fast, safe`},
		{"", jsonType, `{"limit": 200, "mode": "slow"}`, 400, "not one of fast, safe"},
		{"", formType, "limit=0&mode=safe", 400, `limit: "0": below 1: use 1 or more`},
		{"", formType, "limit=x&mode=y", 400, "mode: "},
		{"", formType, "limit=200&lim=1", 400, "lim: there is no such flag"},
		{"", formType, "limit=200&theirs=1", 400, "theirs: cannot be changed while the program runs"},
		{"", formType, "limit=200&limit=300", 400, "limit is given twice"},
		{"", formType, "limit=200&-dry=1", 400, "-dry is unknown"},
		{"", formType, "limit=%zz", 400, "the form is malformed"},
		{"", formType, "mode=fast%0Aa", 400, "line break"},
		{"", formType, "mode=" + strings.Repeat("x", 5000), 400, "4096 are the most"},
		{"", formType, "", 400, "no flag is named"},
		{"", formType, `{"limit": 7}`, 400, "send it with the header content-type: application/json"},
		{"", jsonType, "", 400, "not a JSON object"},
		{"", jsonType, " ", 400, "not a JSON object"},
		{"", jsonType, "{}", 400, "no flag is named"},
		{"", jsonType, `["limit"]`, 400, "not a JSON object"},
		{"", jsonType, `{"limit": 200`, 400, "not a JSON object"},
		{"", jsonType, `{"limit": 200} {}`, 400, "not a JSON object"},
		{"", jsonType, `{"limit": 200, "limit": 300}`, 400, "limit: is given twice"},
		{"", jsonType, `{"limit": null, "mode": {}}`, 400, "mode: must be a string"},
		{"", jsonType, `{"mode": ["safe"]}`, 400, "mode: is not a list"},
		{"", jsonType, `{"names": [["b"]]}`, 400, "names: is a list of lists"},
		{"", jsonType, `{"names": [null]}`, 400, "names: must be"},
		{"", jsonType, `{"limit": 1e2}`, 400, "not a whole number"},
		{"?ttl=0", formType, "limit=200", 400, "ttl=0 is no such time"},
		{"?ttl=", formType, "limit=200", 400, "ttl= is no such time"},
		{"?ttl=25h", formType, "limit=200", 400, "from 1s to 24h0m0s"},
		{"?ttl=999ms", formType, "limit=200", 400, "is no such time"},
		{"?ttl=-5", formType, "limit=200", 400, "is no such time"},
		{"?ttl=soon", formType, "limit=200", 400, "write seconds, or a time like 5m"},
		{"?ttl=5&ttl=6", formType, "limit=200", 400, "?ttl is given twice"},
		{"?tll=5", formType, "limit=200", 400, "?tll is unknown"},
		{"?limit=5", formType, "limit=200", 400, "?limit is unknown, and nothing is done"},
		{"?dry_run=perhaps", formType, "limit=200", 400, "dry_run=perhaps is not known"},
		{"", "text/plain", "limit=200", 415, "Content-Type"},
		{"", formType, "mode=" + strings.Repeat("x", 70_000), 413, "more than 65536 bytes"},
	} {
		f.post(parametersPath+c.query, c.contentType, c.body).want(t, c.code, jsonEscaped(c.contentType, c.want))
		f.unchanged(t)
	}
	f.asOperator("GET", parametersPath+"?limit=200&format=text").want(t, 200)
	f.ask("POST", parametersPath).want(t, 403)
	f.unchanged(t)
	html, err := http.NewRequest(http.MethodPost, f.URL+parametersPath, strings.NewReader("limit=x&mode=y"))
	if err != nil {
		t.Fatal(err)
	}
	html.Header = http.Header{"Accept": {"text/html"}, "Content-Type": {formType}, operatorHeader: {"alice"}}
	f.send(html).want(t, 400, "<h1>Nothing is changed</h1>", "not a whole number", "all flags")
}

// jsonEscaped is a text as an answer of the type has it.
func jsonEscaped(contentType, text string) string {
	if contentType != jsonType {
		return text
	}
	b, _ := json.Marshal(text)
	return strings.Trim(string(b), `"`)
}

// TestParametersKeepSecrets: the value of a secret is nowhere, whatever is asked and
// sent.
func TestParametersKeepSecrets(t *testing.T) {
	f := newParameterFixture(t)
	var seen strings.Builder
	for _, format := range []string{"html", "json", "text"} {
		for _, query := range []string{"", "&name=api-token", "&name=db", "&name=" + canary[:3], "&filter=canary"} {
			seen.WriteString(strings.ReplaceAll(f.asOperator("GET", parametersPath+"?format="+format+query).body, "filter=canary", ""))
		}
		for _, body := range []string{
			"api-token=" + canary, "api-tokn=" + canary, "api-token=" + canary + "&limit=x", "api-token=" + canary + "&api-token=" + canary,
			"api-token=" + canary + "%zz", "db=pg://me:" + canary + "@db/y", "db=pg://me:" + canary + "@db/y%0A", "limit=pg://me:" + canary + "@x",
		} {
			seen.WriteString(f.post(parametersPath+"?format="+format, formType, body).body)
		}
		for _, body := range []string{
			`{"api-token":"` + canary + `"}`, `{"api-token":"` + canary, `{"api-token":["` + canary + `"]}`, `{"api-token":{"a":"` + canary + `"}}`, `"` + canary + `"`,
			`{"api-token":"` + canary + `","api-token":"` + canary + `"}`,
		} {
			seen.WriteString(f.post(parametersPath+"?format="+format, jsonType, body).body)
		}
	}
	seen.WriteString(f.asOperator("GET", parametersPath+"?format=html").body)
	fmt.Fprint(&seen, f.set.History())
	if i, _ := f.set.Lookup("db"); i.Value != "pg://REDACTED@db/y" {
		t.Errorf("%+v", i) // or nothing was tried
	}
	for where, text := range map[string]string{"answers": seen.String(), "log": f.log.String()} {
		if i := strings.Index(text, canary); i >= 0 {
			t.Errorf("%s: %s", where, text[max(0, i-200):min(len(text), i+100)])
		}
	}
	if !strings.Contains(f.log.String(), `"what":"api-token"`) {
		t.Error("the attempt is not in the log")
	}
}

// TestManyParameters: 500 flags, 50 ms, 1 MB.
func TestManyParameters(t *testing.T) {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	for i := range 500 {
		flags.New(fmt.Sprintf("some.long-name-of-a-flag-%03d", i), strings.Repeat("v", 100), strings.Repeat("usage ", 20), flags.In(fs))
	}
	f := newFixture(t)
	set := flags.NewSet(fs, nil)
	if err := f.pages.HandleParameters(set); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if _, err := set.Change(flags.Changes{Values: map[string]string{fmt.Sprintf("some.long-name-of-a-flag-%03d", i): strings.Repeat("x", flags.MaxValue)}, TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for i := range 100 {
			_, _ = set.Change(flags.Changes{Values: map[string]string{fmt.Sprintf("some.long-name-of-a-flag-%03d", i): ""}})
		}
	})
	bound := 50 * time.Millisecond
	if raceDetected() {
		bound *= 10
	}
	for _, format := range []string{"html", "json", "text"} {
		best := time.Hour
		var size int
		for range 30 { // others use the processors, too
			start := time.Now()
			a := f.asOperator("GET", parametersPath+"?format="+format)
			best, size = min(best, time.Since(start)), len(a.body)
			a.want(t, 200)
			if best < bound {
				break
			}
		}
		t.Logf("%s: %v, %d bytes", format, best, size)
		if size > 1<<20 || best > bound {
			t.Errorf("%s: %v, %d bytes", format, best, size)
		}
	}
}

// raceDetected tells whether the race detector is on, under which all is slower.
func raceDetected() bool {
	build, ok := debug.ReadBuildInfo()
	return ok && slices.ContainsFunc(build.Settings, func(s debug.BuildSetting) bool { return s.Key == "-race" && s.Value == "true" })
}

// FuzzChange: whatever is posted, a change is whole or none, and an answer follows.
func FuzzChange(f *testing.F) {
	for _, seed := range []struct {
		json        bool
		query, body string
	}{
		{false, "ttl=5m", "n=2&m=3"},
		{true, "dry_run", `{"n": 2, "m": "x"}`},
		{true, "", `{"n": [1, "2"], "l": ["a", true]}`},
		{false, "ttl=1&ttl=2", "-ttl=5&n=%31"},
		{true, "format=json", `{"n": 1e400, "n": {}, "l": null}`},
	} {
		f.Add(seed.json, seed.query, seed.body)
	}
	f.Fuzz(func(t *testing.T, asJSON bool, query, body string) {
		fs := flag.NewFlagSet("", flag.ContinueOnError)
		n, m := flags.New("n", 1, "", flags.In(fs)), flags.New("m", 1, "", flags.In(fs))
		flags.New("l", []string{}, "", flags.In(fs))
		set := flags.NewSet(fs, nil)
		r := &http.Request{
			Method: http.MethodPost, URL: &url.URL{Path: parametersPath, RawQuery: query},
			Header: http.Header{"Content-Type": {formType}}, Body: io.NopCloser(strings.NewReader(body)),
		}
		if asJSON {
			r.Header.Set("Content-Type", jsonType)
		}
		_, err := parameters{&Pages{}, set}.post(&Request{Request: r})
		if err != nil {
			if n.Get() != 1 || m.Get() != 1 || len(set.History()) > 0 {
				t.Error("changed in spite of", err)
			}
			return
		}
		for _, c := range set.History() {
			if i, _ := set.Lookup(c.Name); i.Value != c.New {
				t.Errorf("%+v is not %+v", i, c)
			}
			if _, err := set.Change(flags.Changes{Values: map[string]string{c.Name: c.Old}}); err != nil { // ends its timer
				t.Errorf("%+v does not go back: %v", c, err)
			}
		}
	})
}
