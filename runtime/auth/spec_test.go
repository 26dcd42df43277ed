package auth

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestParseSpec(t *testing.T) {
	for text, want := range map[string]string{ // an error holds all of the words; "" is accepted
		"mtls":                            "",
		"jwks:k.json?issuer=i&audience=a": "",
		"jwks:./k.json?issuer=i&audience=a&audience=b&use=service&typ=any&max-lifetime=1h30m&id=x&name=y&email=z&groups=g.h": "",
		"oidc:https://id.example?audience=a":                  "",
		"oidc:https://id.example?audience=a&typ=jwt&use=user": "",
		"jwks:k?issuer=a%26b%2Cc&audience=a%2Cb":              "",

		"":                                     "no such authenticator",
		"jwt:x":                                "no such authenticator",
		"MTLS":                                 "no such authenticator",
		"mtls?x=y":                             "no such authenticator",
		"insecure-none":                        "no such authenticator",
		"jwks":                                 "nothing follows jwks|issuer is missing|audience is missing",
		"jwks:":                                "nothing follows jwks",
		"jwks:k":                               "issuer is missing|audience is missing",
		"jwks:k?issuer=i":                      "audience is missing",
		"jwks:k?audience=a":                    "issuer is missing",
		"jwks:k?issuer=&audience=a":            "parameter issuer: has no value",
		"jwks:k?issuer=i&audience=a&audience=": "parameter audience: has no value",
		"jwks:k?issuer=i&issuer=j&audience=a":  "parameter issuer: given twice",
		"jwks:k?issuer=i&audience=a&use=users": `parameter use: "users" is none of user, service`,
		"jwks:k?issuer=i&audience=a&use=user&use=service": "parameter use: given twice",
		"jwks:k?issuer=i&audience=a&typ=JWT":              `parameter typ: "JWT" is none of`,
		"jwks:k?issuer=i&audience=a&max-lifetime=0":       "parameter max-lifetime: is not positive",
		"jwks:k?issuer=i&audience=a&max-lifetime=-1h":     "parameter max-lifetime: is not positive",
		"jwks:k?issuer=i&audience=a&max-lifetime=24":      "parameter max-lifetime: time: missing unit",
		"jwks:k?issuer=i&audience=a&group=g":              "parameter group: no such parameter|groups",
		"jwks:k?isuer=i&audiance=a":                       "parameter isuer: no such|parameter audiance: no such|issuer is missing|audience is missing",
		"jwks:k?issuer=i&audience=a&groups=":              "parameter groups: has no value",
		"jwks:k?issuer=%zz&audience=a":                    "its parameters",
		"jwks:k?issuer=i;audience=a":                      "its parameters",
		"oidc:https://id.example":                         "audience is missing",
		"oidc:https://id.example?audience=a&issuer=b":     "parameter issuer: the issuer is what follows oidc:",
		"oidc:?audience=a":                                "nothing follows oidc",
		"jwks:https://id.example/k?issuer=i&audience=a":   "is the path of a file and no URL",
	} {
		_, err := parseSpec(text)
		for _, word := range strings.Split(want, "|") {
			if !matches(err, word) {
				t.Errorf("%s: got %v, want %q", text, err, word)
			}
		}
	}
}

func TestSpecDefaults(t *testing.T) {
	jwks, err := parseSpec("jwks:dir/k.json?issuer=i&audience=a")
	if err != nil {
		t.Fatal(err)
	}
	if jwks.where != "dir/k.json" || jwks.service || jwks.use() != "user" || jwks.typ != "jwt" || jwks.maxLifetime != 24*time.Hour || jwks.claims != (claimNames{"sub", "name", "email", "groups"}) {
		t.Errorf("%+v", jwks)
	}
	oidc, err := parseSpec("oidc:https://id.example/realms/x?audience=a&use=service")
	if err != nil {
		t.Fatal(err)
	}
	if oidc.issuer != "https://id.example/realms/x" || !oidc.service || oidc.use() != "service" || oidc.typ != "at+jwt" {
		t.Errorf("%+v", oidc)
	}
}

func TestOpenAllTellsAllFaults(t *testing.T) {
	_, err := OpenAll([]string{"nonsense", "jwks:/nowhere?issuer=i", "oidc:http://id.example?audience=a&use=x"}, Config{})
	for _, want := range []string{`"nonsense"`, "audience is missing", "parameter use"} {
		if !matches(err, want) {
			t.Errorf("%v: want %q", err, want)
		}
	}
	_, err = OpenAll([]string{"jwks:/nowhere?issuer=i&audience=a", "oidc:http://id.example?audience=a"}, Config{})
	for _, want := range []string{"/nowhere", "https is required"} {
		if !matches(err, want) {
			t.Errorf("%v: want %q", err, want)
		}
	}
}

// Two issuers, users and services: each token proves one thing, wherever it is
// presented.
func TestOpenAll(t *testing.T) {
	k, far := newEdKey("k"), newEdKey("far")
	file, farFile := writeKeys(t, k), writeKeys(t, far)
	specs := []string{
		"jwks:" + file + "?issuer=home&audience=users",
		"mtls",
		"jwks:" + farFile + "?issuer=far&audience=services&use=service",
		"jwks:" + file + "?issuer=home&audience=services&use=service",
	}
	open := func(order ...int) []Authenticator {
		var some []string
		for _, i := range order {
			some = append(some, specs[i])
		}
		all, err := OpenAll(some, Config{Logger: slog.New(slog.DiscardHandler)})
		if err != nil || len(all) != len(order) {
			t.Fatal(len(all), err)
		}
		return all
	}
	all := open(0, 1, 3, 2)
	user := k.token("iss", "home", "aud", "users")
	service := k.token("iss", "home", "aud", "services", "sub", "billing")
	farService := far.token("iss", "far", "aud", "services", "sub", "billing")
	both := k.token("iss", "home", "aud", []string{"users", "services"})
	stolen := far.token("iss", "home", "aud", "users")
	billing := Access{Services: []string{"billing"}}
	for name, c := range map[string]struct {
		p       Presented
		want    string // "" is refused
		billing bool
	}{
		"user":                     {Presented{User: bearerOf(user)}, "user alice", false},
		"service":                  {Presented{User: bearerOf(service)}, "service billing", true},
		"service in its header":    {Presented{Service: bearerOf(service)}, "service billing", true},
		"both":                     {Presented{User: bearerOf(user), Service: bearerOf(service)}, "user alice by service billing", true},
		"far service":              {Presented{Service: bearerOf(farService)}, "service billing", false},
		"user as service":          {Presented{Service: bearerOf(user)}, "", false},
		"user twice":               {Presented{User: bearerOf(user), Service: bearerOf(user)}, "", false},
		"one token for both kinds": {Presented{User: bearerOf(both)}, "", false},
		"the same, as service":     {Presented{Service: bearerOf(both)}, "", false},
		"another's key":            {Presented{User: bearerOf(stolen)}, "", false},
	} {
		for range 2 { // verified, and remembered
			caller, err := Identify(context.Background(), c.p, all)
			if c.want == "" && err == nil || c.want != "" && (err != nil || caller.String() != c.want) {
				t.Errorf("%s: got %v, %v; want %q", name, caller, err, c.want)
			}
			if ok := err == nil && billing.Check(caller.Identity) == nil; ok != c.billing {
				t.Errorf("%s: it may be named by a rule: %v, want %v", name, ok, c.billing)
			}
		}
	}
	// The first in the list with use=service is the own issuer.
	caller, err := Identify(context.Background(), Presented{Service: bearerOf(farService)}, open(0, 2, 3))
	if err != nil || billing.Check(caller.Identity) != nil {
		t.Errorf("the first issuer of services is not the own one: %v", err)
	}
	for _, a := range all {
		if source, ok := a.(Source); ok {
			source.Refresh(time.Now())
			a.(interface{ Clear() }).Clear()
			a.(io.Closer).Close()
		}
	}
}

func bearerOf(token string) []string { return []string{"Bearer " + token} }

func TestOneTokenWouldProveTwoThings(t *testing.T) {
	file := writeKeys(t, newEdKey("k"))
	for second, want := range map[string]string{
		"jwks:" + file + "?issuer=i&audience=a&use=service":            `audience "a"`,
		"jwks:" + file + "?issuer=i&audience=b&audience=a":             `audience "a"`,
		"oidc:http://localhost?audience=a":                             "",
		"jwks:" + file + "?issuer=i&audience=b&use=service":            "",
		"jwks:" + file + "?issuer=j&audience=a&use=service&groups=a.b": "",
	} {
		_, err := OpenAll([]string{"mtls", "jwks:" + file + "?issuer=i&audience=a", second, "mtls"}, Config{Logger: slog.New(slog.DiscardHandler)})
		if !matches(err, want) {
			t.Errorf("%s: got %v, want %q", second, err, want)
		}
	}
}
