package auth

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// The edges of what is good when, in seconds around now; a minute of leeway.
func TestTimes(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	at := func(d float64) json.Number { return json.Number(fmt.Sprintf("%.3f", float64(now.Unix())+d)) }
	const day = 24 * 3600
	for name, c := range map[string]struct {
		claims claims
		want   string // in the error; "" is accepted
	}{
		"good":                       {claims{"iat": at(0), "exp": at(3600)}, ""},
		"nbf in place of iat":        {claims{"nbf": at(0), "exp": at(3600)}, ""},
		"just expired":               {claims{"iat": at(-3600), "exp": at(0)}, ""},
		"59.999 s expired":           {claims{"iat": at(-3600), "exp": at(-59.999)}, ""},
		"60 s expired":               {claims{"iat": at(-3600), "exp": at(-60)}, "it expired"},
		"long expired":               {claims{"iat": at(-7200), "exp": at(-3600)}, "it expired"},
		"good in 60 s":               {claims{"iat": at(0), "nbf": at(60), "exp": at(3600)}, ""},
		"good in 60.001 s":           {claims{"iat": at(0), "nbf": at(60.001), "exp": at(3600)}, "not good before"},
		"issued in 60 s":             {claims{"iat": at(60), "exp": at(3600)}, ""},
		"issued in 60.001 s":         {claims{"iat": at(60.001), "exp": at(3600)}, "in the future"},
		"good for a day":             {claims{"iat": at(0), "exp": at(day)}, ""},
		"good for a day and more":    {claims{"iat": at(0), "exp": at(day + 0.01)}, "max-lifetime"},
		"by nbf for a day and more":  {claims{"nbf": at(0), "exp": at(day + 0.01)}, "max-lifetime"},
		"issued long ago":            {claims{"iat": at(-day), "exp": at(1)}, "max-lifetime"},
		"nbf does not shorten iat":   {claims{"iat": at(-day), "nbf": at(-1), "exp": at(1)}, "max-lifetime"},
		"no exp":                     {claims{"iat": at(0)}, "exp is required"},
		"no iat, no nbf":             {claims{"exp": at(3600)}, "iat or nbf"},
		"ends as it begins":          {claims{"iat": at(30), "exp": at(30)}, "before it begins"},
		"ends before it begins":      {claims{"iat": at(30), "exp": at(29)}, "before it begins"},
		"exp is a string":            {claims{"iat": at(0), "exp": string(at(3600))}, "exp is no number"},
		"exp is null":                {claims{"iat": at(0), "exp": nil}, "exp is no number"},
		"exp is true":                {claims{"iat": at(0), "exp": true}, "exp is no number"},
		"exp is infinite":            {claims{"iat": at(0), "exp": json.Number("1e400")}, "exp is no date"},
		"exp is huge":                {claims{"iat": at(0), "exp": json.Number("253402300800")}, "exp is no date"},
		"exp overflows":              {claims{"iat": at(0), "exp": json.Number("18446744073709551617")}, "exp is no date"},
		"exp in the year 9999":       {claims{"iat": at(0), "exp": json.Number("253402300799")}, "max-lifetime"},
		"exp in milliseconds":        {claims{"iat": at(0), "exp": json.Number("1800003600000")}, "exp is no date"},
		"exp is negative":            {claims{"iat": at(0), "exp": json.Number("-1")}, "exp is no date"},
		"exp as 1.8000036e9":         {claims{"iat": at(0), "exp": json.Number("1.8000036e9")}, ""},
		"exp tiny":                   {claims{"iat": at(0), "exp": json.Number("1e-400")}, "it expired"},
		"iat is negative":            {claims{"iat": json.Number("-1"), "exp": at(3600)}, "iat is no date"},
		"iat is a string":            {claims{"iat": "0", "exp": at(3600)}, "iat is no number"},
		"nbf is a list":              {claims{"iat": at(0), "nbf": []any{at(0)}, "exp": at(3600)}, "nbf is no number"},
		"nbf is infinite":            {claims{"iat": at(0), "nbf": json.Number("1e999"), "exp": at(3600)}, "nbf is no date"},
		"nothing":                    {claims{}, "exp is required"},
		"all wrong, none passes for": {claims{"iat": "x", "nbf": "x", "exp": "x"}, "exp is no number"},
	} {
		until, err := c.claims.checkTimes(now, 24*time.Hour)
		if !matches(err, c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if err == nil && !until.After(now) {
			t.Errorf("%s: accepted until %v, which is past", name, until)
		}
	}
}

// matches tells whether an error holds a text, or is nil where there is none.
func matches(err error, want string) bool {
	if err == nil || want == "" {
		return err == nil && want == ""
	}
	return strings.Contains(err.Error(), want)
}

// What is remembered ends when it would not be accepted any more.
func TestExpiryOfTheRemembered(t *testing.T) {
	k := testKeys()["EdDSA"]
	synctest.Test(t, func(t *testing.T) {
		a := open(t, "&max-lifetime=2h", k)
		token := k.token("nbf", time.Now().Add(2*time.Minute).Unix(), "exp", time.Now().Add(time.Hour).Unix())
		for _, step := range []struct {
			wait time.Duration
			ok   bool
		}{
			{0, false}, {time.Minute - 1, false}, {1, true}, {58 * time.Minute, true}, {2*time.Minute - 1, true}, {1, false}, {time.Hour, false},
		} {
			time.Sleep(step.wait)
			id, err := authenticate(a, token)
			if (err == nil) != step.ok {
				t.Fatalf("after %v: %v", step.wait, err)
			}
			if err == nil && !id.Expires().Equal(time.Unix(time.Date(2000, 1, 1, 1, 1, 0, 0, time.UTC).Unix(), 0)) {
				t.Errorf("expires %v: the leeway is part of it", id.Expires())
			}
		}
		a.Refresh(time.Now())
		if n := len(a.cache.entries); n != 0 {
			t.Errorf("%d tokens are remembered after all have expired", n)
		}
	})
}

func TestAudience(t *testing.T) {
	for name, c := range map[string]struct {
		aud  any
		want string
	}{
		"ours":            {"echo", ""},
		"our second":      {"echo-2", ""},
		"among others":    {[]any{"x", "echo"}, ""},
		"another":         {"greeter", "not for"},
		"others":          {[]any{"greeter", "echo-3"}, "not for"},
		"prefix":          {"ech", "not for"},
		"case":            {"ECHO", "not for"},
		"slash":           {"echo/", "not for"},
		"in a string":     {"echo greeter", "not for"},
		"empty":           {"", "not for"},
		"empty list":      {[]any{}, "not for"},
		"missing":         {nil, "required"},
		"number":          {json.Number("1"), "required"},
		"object":          {map[string]any{"echo": true}, "required"},
		"list with more":  {[]any{"echo", json.Number("1")}, "required"},
		"nested list":     {[]any{[]any{"echo"}}, "required"},
		"of both kinds":   {[]any{"echo", "service"}, "a user and a service"},
		"of other kind":   {"service", "not for"},
		"control in text": {"\n\x1b\u202e", `"\n\x1b\u202e"`},
	} {
		if err := (claims{"aud": c.aud}).checkAudience([]string{"echo", "echo-2"}, []string{"service"}); !matches(err, c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestPrincipal(t *testing.T) {
	names := claimNames{"sub", "name", "email", "groups"}
	long := strings.Repeat("é", 256)
	for name, c := range map[string]struct {
		names  claimNames
		claims string
		want   *Principal
		err    string
	}{
		"bare":               {names, `{"sub":"a"}`, &Principal{ID: "a"}, ""},
		"all":                {names, `{"sub":"a","iss":"i","name":"A","email":"a@x","groups":["g","h"]}`, &Principal{ID: "a", Issuer: "i", Name: "A", Email: "a@x", Groups: []string{"g", "h"}}, ""},
		"one group":          {names, `{"sub":"a","groups":"g h"}`, &Principal{ID: "a", Groups: []string{"g h"}}, ""},
		"no groups":          {names, `{"sub":"a","groups":[]}`, &Principal{ID: "a"}, ""},
		"null groups":        {names, `{"sub":"a","groups":null}`, &Principal{ID: "a"}, ""},
		"groups with more":   {names, `{"sub":"a","groups":["g",1]}`, nil, "groups"},
		"empty group":        {names, `{"sub":"a","groups":[""]}`, nil, "groups"},
		"group with control": {names, `{"sub":"a","groups":["g\n"]}`, nil, "groups"},
		"groups an object":   {names, `{"sub":"a","groups":{"g":1}}`, nil, "the parameter groups"},
		"256 characters":     {names, `{"sub":"` + long + `"}`, &Principal{ID: long}, ""},
		"257 characters":     {names, `{"sub":"` + long + `e"}`, nil, "sub is required"},
		"no sub":             {names, `{}`, nil, "sub is required"},
		"empty sub":          {names, `{"sub":""}`, nil, "sub is required"},
		"null sub":           {names, `{"sub":null}`, nil, "sub is required"},
		"number as sub":      {names, `{"sub":1}`, nil, "sub is required"},
		"newline in sub":     {names, `{"sub":"a\nb"}`, nil, "sub is required"},
		"escape in sub":      {names, `{"sub":"a\u001b[2J"}`, nil, "sub is required"},
		"override in sub":    {names, `{"sub":"a\u202eb"}`, nil, "sub is required"},
		"zero width in sub":  {names, `{"sub":"a\u200bb"}`, nil, "sub is required"},
		"lone surrogate":     {names, `{"sub":"a\ud800"}`, nil, "sub is required"},
		"NUL in sub":         {names, `{"sub":"a\u0000"}`, nil, "sub is required"},
		"odd name":           {names, `{"sub":"a","name":"\n","email":1}`, &Principal{ID: "a"}, ""},
		"unverified email":   {names, `{"sub":"a","email":"a@x","email_verified":false}`, &Principal{ID: "a"}, ""},
		"verified email":     {names, `{"sub":"a","email":"a@x","email_verified":true}`, &Principal{ID: "a", Email: "a@x"}, ""},
		"\"true\"":           {names, `{"sub":"a","email":"a@x","email_verified":"true"}`, &Principal{ID: "a", Email: "a@x"}, ""},
		"\"false\"":          {names, `{"sub":"a","email":"a@x","email_verified":"false"}`, &Principal{ID: "a"}, ""},
		"null, not verified": {names, `{"sub":"a","email":"a@x","email_verified":null}`, &Principal{ID: "a"}, ""},
		"0, not verified":    {names, `{"sub":"a","email":"a@x","email_verified":0}`, &Principal{ID: "a"}, ""},
		"email as ID":        {claimNames{id: "email"}, `{"sub":"a","email":"a@x","email_verified":true}`, &Principal{ID: "a@x"}, ""},
		"unverified as ID":   {claimNames{id: "email"}, `{"sub":"a","email":"a@x","email_verified":false}`, nil, "email_verified"},
		"unknown as ID":      {claimNames{id: "email"}, `{"sub":"a","email":"a@x"}`, nil, "email_verified"},
		"\"true\" as ID":     {claimNames{id: "email"}, `{"sub":"a","email":"a@x","email_verified":"true"}`, nil, "email_verified"},
		"other ID":           {claimNames{id: "oid"}, `{"oid":"o"}`, &Principal{ID: "o"}, ""},
		"path":               {claimNames{id: "sub", groups: "realm_access.roles"}, `{"sub":"a","realm_access":{"roles":["r"]}}`, &Principal{ID: "a", Groups: []string{"r"}}, ""},
		"long path":          {claimNames{id: "a.b.c"}, `{"a":{"b":{"c":"x"}}}`, &Principal{ID: "x"}, ""},
		"URL as name":        {claimNames{id: "sub", groups: "https://x.example/groups"}, `{"sub":"a","https://x.example/groups":["r"]}`, &Principal{ID: "a", Groups: []string{"r"}}, ""},
		"URL in a path":      {claimNames{id: "https://x.example/u.id"}, `{"https://x.example/u":{"id":"x"}}`, &Principal{ID: "x"}, ""},
		"path to nothing":    {claimNames{id: "a.b.c"}, `{"a":{"b":"c"}}`, nil, "a.b.c is required"},
		"dots":               {claimNames{id: "...", groups: "groups"}, `{"":{"":{"":{"":"x"}}}}`, &Principal{ID: "x"}, ""},
	} {
		o, err := parseObject([]byte(c.claims))
		if err != nil {
			t.Fatal(name, err)
		}
		p, err := claims(o).principal(c.names)
		if !matches(err, c.err) {
			t.Errorf("%s: got error %v, want %q", name, err, c.err)
		}
		if diff := cmp.Diff(c.want, p, cmpopts.IgnoreUnexported(Principal{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// All calls of a user share the principal: what one appends to its groups must
// not come up in another's.
func TestGroupsAreNotAppendedInPlace(t *testing.T) {
	o, err := parseObject([]byte(`{"sub":"a","groups":["f","g","h"]}`))
	if err != nil {
		t.Fatal(err)
	}
	p, err := claims(o).principal(claimNames{id: "sub", groups: "groups"})
	if err != nil {
		t.Fatal(err)
	}
	one, two := append(p.Groups, "one"), append(p.Groups, "two")
	if one[3] != "one" || two[3] != "two" {
		t.Errorf("got %v and %v", one, two)
	}
}

func TestType(t *testing.T) {
	for typ, want := range map[string]string{ // which settings take it
		"at+jwt": "at+jwt jwt any", "AT+JWT": "at+jwt jwt any", "application/at+jwt": "at+jwt jwt any", "JWT": "jwt any", "jwt": "jwt any", "": "jwt any",
		"application/jwt": "jwt any", "logout+jwt": "any", "dpop+jwt": "any", "secevent+jwt": "any", "at": "any", "at+jwt ": "any", "JOSE": "any",
	} {
		var got []string
		for _, setting := range []string{"at+jwt", "jwt", "any"} {
			if (&tokens{spec: spec{typ: setting}}).checkType(typ) == nil {
				got = append(got, setting)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q is taken by %q, want %q", typ, got, want)
		}
	}
}
