package flags

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestKinds(t *testing.T) {
	fs, _ := newFlagSet(t)
	b := New("b", false, "", In(fs))
	n := New("n", 1, "", In(fs))
	x := New("x", 0.5, "", In(fs))
	text := New("s", "a", "", In(fs))
	d := New("d", time.Second, "", In(fs))
	l := New("l", []string{"a", "b"}, "", In(fs))
	e := New("e", "red", "", In(fs), OneOf("red", "green"))
	parseLine(t, fs, "-b", "-n=0x10", "-x=1e3", "-s=", "-d=5m", `-l=c,"d,e",`, "-e=green")
	if !b.Get() || n.Get() != 16 || x.Get() != 1000 || text.Get() != "" || d.Get() != 5*time.Minute ||
		!slices.Equal(l.Get(), []string{"c", "d,e", ""}) || e.Get() != "green" {
		t.Error("read", b.Get(), n.Get(), x.Get(), text.Get(), d.Get(), l.Get(), e.Get())
	}
	wantEqual(t, "name", n.Name(), "n")
	s := NewSet(fs, nil)
	for name, want := range map[string]Info{
		"b": {Type: "bool", Value: "true", Default: "false"},
		"n": {Type: "int", Value: "16", Default: "1"},
		"x": {Type: "float", Value: "1000", Default: "0.5"},
		"s": {Type: "string", Value: "", Default: "a"},
		"d": {Type: "duration", Value: "5m0s", Default: "1s"},
		"l": {Type: "list", Value: `c,"d,e",`, Default: "a,b"},
		"e": {Type: "enum", Value: "green", Default: "red"},
	} {
		got := info(t, s, name)
		if got.Type != want.Type || got.Value != want.Value || got.Default != want.Default || got.Source != "flag" || !got.Dynamic {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

func TestWrongValues(t *testing.T) {
	fs, _ := newFlagSet(t)
	New("b", true, "", In(fs))
	New("n", 1, "", In(fs), Validate(func(n int) error {
		if n < 0 {
			return errors.New("below 0: use 0 or more")
		}
		if n == 13 {
			panic(n)
		}
		return nil
	}))
	New("x", 0.5, "", In(fs))
	New("d", time.Second, "", In(fs))
	New("l", []string{"a"}, "", In(fs), OneOf("a", "b"))
	New("e", "red", "", In(fs), OneOf("red", "green"))
	s := NewSet(fs, nil)
	for _, c := range []struct{ name, value, want string }{
		{"b", "maybe", "not a truth value"},
		{"n", "many", "not a whole number"},
		{"n", "1.5", "not a whole number"},
		{"n", "99999999999999999999", "too great"},
		{"n", "-1", "below 0: use 0 or more"},
		{"n", "13", "its check panicked"},
		{"x", "NaN", "not a number"},
		{"x", "1e999", "too great"},
		{"d", "5", "not a duration"},
		{"l", `a,"b`, "not a list"},
		{"l", "a,c", "not one of a, b"},
		{"e", "blue", "not one of red, green"},
		{"e", "a\nb", "line break"},
		{"e", "a\x00b", "line break"},
		{"e", "a\u202eb", "line break"},
		{"e", "a\xffb", "line break"},
		{"e", strings.Repeat("x", MaxValue+1), "4096 are the most"},
	} {
		before := info(t, s, c.name)
		_, err := s.Change(Changes{Values: values(c.name, c.value)})
		wantError(t, err, c.name+": ", c.want)
		wantEqual(t, c.name, info(t, s, c.name).Value, before.Value)
		if len(c.value) < 100 && !strings.ContainsFunc(c.value, unfit) {
			if err := fs.Parse([]string{"-" + c.name + "=" + c.value}); err == nil {
				t.Errorf("-%s=%s was taken", c.name, c.value)
			}
			wantEqual(t, c.name, info(t, s, c.name).Value, before.Value)
		}
	}
	if len(s.History()) != 0 {
		t.Errorf("history %v", s.History())
	}
}

// TestTextIsKept: what format writes parse reads.
func TestTextIsKept(t *testing.T) {
	for _, list := range [][]string{nil, {""}, {"a"}, {"a", ""}, {"a,b", `"`, " c"}, {"a\nb"}} {
		got, err := parse[[]string](format(list))
		if err != nil || !slices.Equal(got, list) {
			t.Errorf("%q became %q, %v", list, got, err)
		}
	}
	for _, x := range []float64{0, -1.5, math.Inf(1), 1e-300} {
		if got, err := parse[float64](format(x)); err != nil || got != x {
			t.Errorf("%v became %v, %v", x, got, err)
		}
	}
}

func FuzzList(f *testing.F) {
	f.Add(`a,"b,c",`)
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parse[[]string](text)
		if err != nil {
			return
		}
		again, err := parse[[]string](format(list))
		if err != nil || !slices.Equal(list, again) {
			t.Errorf("%q is %q, and then %q, %v", text, list, again, err)
		}
	})
}

func TestHelp(t *testing.T) {
	fs, out := newFlagSet(t)
	New("b", false, "a truth", In(fs))
	New("n", 0, "a number", In(fs))
	New("m", 7, "another `number`", In(fs))
	New("d", time.Duration(0), "", In(fs))
	New("l", []string{"a"}, "what", In(fs), OneOf("a", "b"))
	New("e", "red", "how", In(fs), OneOf("red", "green"))
	New("q", "red", "by `colour`", In(fs), OneOf("red", "green"))
	New("password", "hunter2", "what is secret", In(fs))
	fs.PrintDefaults()
	for _, want := range []string{
		"-b\ta truth\n", "-n int\n", "a number (int)\n", "-m number\n", "another number (default 7)", "what is secret (string) (default REDACTED)",
		"-d duration\n", "(duration)", "-l list\n", "(list of a, b) (default a)", "-e red|green\n", "how (red|green) (default red)", "-q colour\n", "by colour (red|green)",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the help lacks %q:\n%s", want, out)
		}
	}
	if strings.Contains(out.String(), "hunter2") {
		t.Error(out)
	}
	if typed, ok := fs.Lookup("m").Value.(interface{ Type() string }); !ok || typed.Type() != "int" {
		t.Error("no type for pflag")
	}
}

// TestMistakes: what is wrong in the program itself is found when it starts.
func TestMistakes(t *testing.T) {
	fs, _ := newFlagSet(t)
	New("a", 1, "", In(fs))
	one := func(n int) error {
		if n != 1 {
			return errors.New("not 1")
		}
		return nil
	}
	for name, declare := range map[string]func(){
		"redefined":                                         func() { New("a", "x", "", In(fs)) },
		"a check of the kind func(string)":                  func() { New("b", 1, "", In(fs), Validate(func(string) error { return nil })) },
		"OneOf is for string and []string":                  func() { New("c", 1, "", In(fs), OneOf("x")) },
		"a check of the kind func([]string), not OneOf's":   func() { New("c", "x", "", In(fs), OneOf("x"), Validate(func([]string) error { return nil })) },
		"flag e: its default is not valid: not one of x, y": func() { New("e", "z", "", In(fs), OneOf("x", "y")) },
		"flag f: its default is not valid: not 1":           func() { New("f", 2, "", In(fs), Validate(one)) },
		"flag g: its default is not valid; it is secret":    func() { New("g", 2, "", In(fs), Validate(one), Secret()) },
		"begins with -":                                     func() { New("-d", 1, "", In(fs)) },
		"redefined, by theirs":                              func() { fs.Int("a", 1, "") },
	} {
		func() {
			defer func() {
				want, _, _ := strings.Cut(name, ",")
				if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), want) {
					t.Errorf("%s: %v", name, p)
				}
			}()
			declare()
		}()
	}
}

func TestOnChange(t *testing.T) {
	fs, _ := newFlagSet(t)
	n, m := New("n", 1, "", In(fs)), New("m", 1, "", In(fs))
	var seen []string
	n.OnChange(func(from, to int) { seen = append(seen, fmt.Sprint("n ", from, " ", to, " ", n.Get(), " ", m.Get())) })
	m.OnChange(func(from, to int) { seen = append(seen, fmt.Sprint("m ", from, " ", to, " ", n.Get(), " ", m.Get())) })
	parseLine(t, fs, "-n=2")
	s := NewSet(fs, nil)
	change(t, s, Changes{Values: values("n", "3", "m", "4")})
	change(t, s, Changes{Values: values("n", "3")})
	change(t, s, Changes{Values: values("n", "5"), DryRun: true})
	want := []string{"n 1 2 2 1", "m 1 4 3 4", "n 2 3 3 4"}
	if !slices.Equal(seen, want) {
		t.Errorf("seen %q, want %q", seen, want)
	}
}

// TestOnChangeMayChange: a watcher that changes a flag does not wait for itself, and
// is called for its own changes after it has returned.
func TestOnChangeStops(t *testing.T) {
	fs, _ := newFlagSet(t)
	n := New("n", 1, "", In(fs))
	var told []int
	stop := n.OnChange(func(_, now int) { told = append(told, now) })
	n.OnChange(func(_, now int) { told = append(told, -now) })
	parseLine(t, fs, "-n=2")
	stop()
	stop()
	parseLine(t, fs, "-n=3")
	wantEqual(t, "told", fmt.Sprint(told), "[2 -2 -3]")
}

func TestOnChangeMayChange(t *testing.T) {
	fs, _ := newFlagSet(t)
	n := New("n", 1, "", In(fs))
	s := NewSet(fs, nil)
	var seen []int
	n.OnChange(func(_, to int) {
		if to < 5 {
			change(t, s, Changes{Values: values("n", fmt.Sprint(to+1))})
		}
		seen = append(seen, to)
	})
	change(t, s, Changes{Values: values("n", "2")})
	if !slices.Equal(seen, []int{2, 3, 4, 5}) {
		t.Error(seen)
	}
}

// TestOnChangePanics: the change holds, the others are told, the log has it.
func TestOnChangePanics(t *testing.T) {
	fs, _ := newFlagSet(t)
	n := New("n", 1, "", In(fs))
	var log logbook
	s := NewSet(fs, log.logger())
	told := 0
	n.OnChange(func(int, int) { panic("oh") })
	n.OnChange(func(int, int) { told++ })
	change(t, s, Changes{Values: values("n", "2")})
	wantEqual(t, "value", n.Get(), 2)
	wantEqual(t, "told", told, 1)
	if !strings.Contains(log.String(), "name=n") || !strings.Contains(log.String(), "err=oh") || !strings.Contains(log.String(), "TestOnChangePanics") {
		t.Error(log.String())
	}
}

// TestOnChangeThatEndsItsGoroutine: who comes later is told nevertheless.
func TestOnChangeThatEndsItsGoroutine(t *testing.T) {
	fs, _ := newFlagSet(t)
	n := New("n", 1, "", In(fs))
	s := NewSet(fs, nil)
	told := make(chan int, 2)
	n.OnChange(func(_, to int) {
		if to == 2 {
			exit()
		}
	})
	n.OnChange(func(_, to int) { told <- to })
	go func() { _, _ = s.Change(Changes{Values: values("n", "2")}) }()
	wantEqual(t, "told", <-told, 2)
	change(t, s, Changes{Values: values("n", "3")})
	wantEqual(t, "told", <-told, 3)
}

// TestCommandLinePanics: what a watcher does on the command line is the program's.
func TestCommandLinePanics(t *testing.T) {
	fs, _ := newFlagSet(t)
	n := New("n", 1, "", In(fs))
	n.OnChange(func(int, int) { panic("oh") })
	defer func() { wantEqual(t, "panic", recover(), any("oh")) }()
	_ = fs.Parse([]string{"-n=2"})
	t.Error("no panic")
}

func TestSetForTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, _ := newFlagSet(t)
		n := New("n", 1, "", In(fs), Validate(func(n int) error {
			if n < 1 {
				return errors.New("below 1")
			}
			return nil
		}))
		seen := 0
		n.OnChange(func(_, to int) { seen = to })
		s := NewSet(fs, nil)
		_, err := n.SetForTest(0)
		wantError(t, err, "below 1")
		wantEqual(t, "source", info(t, s, "n").Source, "default")
		change(t, s, Changes{Values: values("n", "2"), TTL: time.Minute})
		back, err := n.SetForTest(3)
		if err != nil {
			t.Fatal(err)
		}
		wantEqual(t, "value", n.Get(), 3)
		wantEqual(t, "seen", seen, 3)
		wantEqual(t, "source", info(t, s, "n").Source, "test")
		time.Sleep(time.Hour)
		synctest.Wait()
		wantEqual(t, "value", n.Get(), 3)
		back()
		wantEqual(t, "value", n.Get(), 1)
		wantEqual(t, "seen", seen, 1)
		wantEqual(t, "source", info(t, s, "n").Source, "default")
	})
}

func TestSecrets(t *testing.T) {
	const canary = "canary-7f3a"
	fs, out := newFlagSet(t)
	pin := New("pin", 1, "", In(fs), Secret(), Validate(func(n int) error {
		if n != 1 {
			return errors.New("not 1")
		}
		return nil
	}))
	token := New("api-token", "x", "", In(fs), Validate(func(s string) error {
		if s == "" || strings.HasSuffix(s, "!") {
			return fmt.Errorf("%s is bad", s)
		}
		return nil
	}))
	New("maxkeys", 3, "", In(fs))
	New("key-order", "asc", "", In(fs), Public())
	New("url", "", "", In(fs), Validate(func(s string) error {
		if strings.HasSuffix(s, "/bad") {
			return fmt.Errorf("%s is bad", s)
		}
		return nil
	}))
	fs.String("their-password", "", "")
	fs.String("token-file", "", "")
	fs.Bool("keyed", false, "")
	parseLine(t, fs, "-api-token="+canary, "-their-password="+canary, "-token-file=/run/token", "-url=db://me:"+canary+"@h/x?api_key="+canary+"&n=1")
	wantEqual(t, "token", token.Get(), canary)
	s := NewSet(fs, nil)
	for name, secret := range map[string]bool{
		"pin": true, "api-token": true, "maxkeys": false, "key-order": false, "url": false, "their-password": true, "token-file": false, "keyed": false,
	} {
		i := info(t, s, name)
		if i.Secret != secret || secret && (i.Dynamic || i.Value != Redacted) {
			t.Errorf("%s: %+v", name, i)
		}
	}
	wantEqual(t, "url", info(t, s, "url").Value, "db://REDACTED@h/x?api_key=REDACTED&n=1")
	wantEqual(t, "withheld", info(t, s, "url").Withheld, true)
	_, err := s.Change(Changes{Values: values("api-token", canary+"2", "api-tokn", canary, "their-password", canary, "url", "http://a:"+canary+"@b\x00"), Reason: "r"})
	_, quoted := s.Change(Changes{Values: values("url", "http://a:"+canary+"@b/bad")})
	wantError(t, quoted, "http://REDACTED@b/bad is bad")
	wantError(t, err, "api-token: is secret", "api-tokn: there is no such flag", "their-password: is secret", "url: ")
	parseLine(t, fs, "-api-token="+canary+"!", "-pin=77077")
	wantEqual(t, "token", token.Get(), canary)
	wantEqual(t, "pin", pin.Get(), 1)
	faults := Faults(fs)
	wantError(t, faults, "-api-token: the value is not valid", "-pin: ")
	change(t, s, Changes{Values: values("url", "http://a:"+canary+"@b")})
	fs.PrintDefaults()
	all := fmt.Sprint(s.List(), s.History(), err, quoted, faults, out, fs.Lookup("api-token").Value)
	if strings.Contains(all, canary) || strings.Contains(all, "77077") {
		t.Error("the secret is seen:", all)
	}
	parseLine(t, fs, "-api-token=good", "-pin=x")
	wantEqual(t, "faults", strings.Count(Faults(fs).Error(), "\n"), 0)
}

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{
		"password": true, "db.passwd": true, "DBPassword": true, "apikey": true, "monkey": true, "credentials": true, "secret-profile": true, "keyfiles": true,
		"tls-key-file": false, "keyfile": false, "credentials_path": false, "TokenFile": false, "secrets-dir": false, "limit": false,
	} {
		if got := soundsSecret(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                              "plain",
		"etcd://h1:1,h2:2/p":                 "etcd://h1:1,h2:2/p",
		"etcd://root:p@ss/w@h1:1,h2:2/p":     "etcd://REDACTED@h1:1,h2:2/p",
		"user=a password=b c":                "user=a password=REDACTED c",
		"https://h/?access_token=abc&x=1":    "https://h/?access_token=REDACTED&x=1",
		"jwks:keys.json?issuer=a&audience=b": "jwks:keys.json?issuer=a&audience=b",
		"me@example.org":                     "me@example.org",
		"no such key: users/1":               "no such key: users/1",
		"it takes a basic part":              "it takes a basic REDACTED", // rather once too often
		"password='hunter2 x' user=a":        "password=REDACTED user=a",
		`password="hun ter2"`:                "password=REDACTED",
		"password='hunter2 x":                "password=REDACTED", // cut off
		"password=hun;x,y&z=1":               "password=REDACTED&z=1",
		"password = x":                       "password = REDACTED",
		"password: x":                        "password: REDACTED",
		`{"password":"x","n":1}`:             `{"password":REDACTED,"n":1}`,
		"u:hunter2@tcp(h)/db":                "REDACTED@tcp(h)/db",
		"pwd=x sig=y X-Amz-Signature=z":      "pwd=REDACTED sig=REDACTED X-Amz-Signature=REDACTED",
		"Authorization: Bearer abc.def":      "Authorization: Bearer REDACTED",
		"design=x":                           "design=x",
	} {
		wantEqual(t, in, Redact(in), want)
	}
}

// TestParsedAgain: a flag that is set while the program runs, by its own code,
// decides like an operator.
func TestParsedAgain(t *testing.T) {
	fs, _ := newFlagSet(t)
	n := New("n", 1, "", In(fs))
	s := NewSet(fs, nil)
	change(t, s, Changes{Values: values("n", "2"), TTL: time.Hour})
	parseLine(t, fs, "-n=3")
	i := info(t, s, "n")
	if n.Get() != 3 || !i.Reverts.IsZero() || i.Source != "flag" {
		t.Errorf("%d, %+v", n.Get(), i)
	}
}

var ofTheProcess = New("flags-test.of-the-process", 1, "")

func TestCommandLine(t *testing.T) {
	if flag.Lookup(ofTheProcess.Name()) == nil {
		t.Error("not on the command line")
	}
}
