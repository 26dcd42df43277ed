package mistakes

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/test/provider"
)

// making makes the mistakes, in the order in which they are documented; with the
// cure that is documented where cured is set.
var making = []func(t *testing.T, cured bool) said{
	exposed, unquoted, audience, tokenType, standalone,
	groups, trustDomain, wrongName, plaintext, background,
}

// TestMistakes makes each mistake and compares what is said with what is
// documented. With the cure, nothing is said.
func TestMistakes(t *testing.T) {
	all := documented(t)
	if len(all) != len(making) {
		t.Fatalf("%d mistakes are documented, and %d are made here", len(all), len(making))
	}
	for i, m := range all {
		t.Run(m.title, func(t *testing.T) {
			t.Parallel()
			got := making[i](t, false)
			if kinds, want := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(m.says)); !slices.Equal(kinds, want) {
				t.Errorf("it is said to %q, and documented for %q", kinds, want)
			}
			for kind, want := range m.says {
				if !matches(got[kind], want) {
					t.Errorf("%s is told:\n%s\nand documented is:\n%s", kind, got[kind], want)
				}
			}
			if got := making[i](t, true); len(got) > 0 {
				t.Errorf("after the cure: %q", got)
			}
		})
	}
}

func exposed(t *testing.T, cured bool) said {
	opts := []easyops.ServerOption{easyops.WithAddr("0.0.0.0:0")}
	if cured {
		opts = []easyops.ServerOption{easyops.WithAddr("127.0.0.1:0")}
	}
	_, err := start(t, opts...)
	return failed("start", err)
}

// unquoted runs the example's server by a shell.
func unquoted(t *testing.T, cured bool) said {
	spec := usersOf(newKeys(t), "shop")
	if cured {
		spec = "'" + spec + "'"
	}
	return runByShell(t, "-easyops.auth="+spec)
}

func audience(t *testing.T, cured bool) said {
	keys, asked := newKeys(t), "blog"
	if cured {
		asked = "shop"
	}
	s := mustStart(t, easyops.WithAuth(usersOf(keys, "shop")))
	return s.call(t, userToken(keys.token(t, "--user", "alice", "--audience", asked)))
}

// tokenType has a provider that writes JWT into every token.
func tokenType(t *testing.T, cured bool) said {
	p := provider.New(t)
	access, _, err := p.UserTokens()
	if err != nil {
		t.Fatal(err)
	}
	spec := "oidc:" + p.URL + "?audience=" + provider.WebClient
	if cured {
		spec += "&typ=jwt"
	}
	return mustStart(t, easyops.WithAuth(spec)).call(t, userToken(access))
}

func standalone(t *testing.T, cured bool) said {
	token := newKeys(t).token(t, "--user", "alice", "--audience", "shop")
	if cured {
		token = ""
	}
	return mustStart(t).call(t, userToken(token))
}

func groups(t *testing.T, cured bool) said {
	keys := newKeys(t)
	spec := usersOf(keys, "shop") + "&groups=roles"
	if cured {
		spec = usersOf(keys, "shop")
	}
	s := mustStart(t, easyops.WithAuth(spec), onlyFor(auth.Access{Allow: auth.Users, Groups: []string{"staff"}}))
	return s.call(t, userToken(keys.token(t, "--user", "alice", "--groups", "staff", "--audience", "shop")))
}

func trustDomain(t *testing.T, cured bool) said {
	ours, theirs := newCA(t, "shop.example"), newCA(t, "partner.example")
	both := concat(t, ours.file, theirs.file)
	name := "billing"
	if cured {
		name = "spiffe://partner.example/billing"
	}
	s := mustStart(t, easyops.WithAuth("mtls"), ours.issue(t, both, "--id", "echo", "--service", echoName),
		onlyFor(auth.Access{Allow: auth.Services, Services: []string{name}}))
	return s.call(t, theirs.issue(t, both, "--id", "billing"))
}

func wrongName(t *testing.T, cured bool) said {
	ca, named := newCA(t, "shop.example"), "greeter.v1.GreeterService"
	if cured {
		named = echoName
	}
	s := mustStart(t, easyops.WithAuth("mtls"), ca.issue(t, ca.file, "--id", "echo", "--service", named))
	return s.call(t, ca.issue(t, ca.file, "--id", "frontend"))
}

// plaintext has a server that calls on to one on another address.
func plaintext(t *testing.T, cured bool) said {
	keys := newKeys(t)
	users := easyops.WithAuth(usersOf(keys, "shop"))
	server := []easyops.ServerOption{users, easyops.WithAddr(addressOfMachine(t) + ":0"), easyops.WithInsecurePlaintext()}
	var client []easyops.DialOption
	if cured {
		ca := newCA(t, "shop.example")
		server = append(server, ca.issue(t, ca.file, "--id", "echo", "--service", echoName))
		client = append(client, easyops.WithTLSFiles("", "", ca.file))
	}
	next := mustStart(t, server...).dial(t, client...)
	first := serveAs(t, passingOn{next: next}, users)
	got := first.call(t, userToken(keys.token(t, "--user", "alice", "--audience", "shop")))
	delete(got, "log") // of the first server, which says the same, shortened
	return got
}

// background has a server between the caller and the one that refuses.
func background(t *testing.T, cured bool) said {
	keys, ca := newKeys(t), newCA(t, "shop.example")
	specs := easyops.WithAuth(usersOf(keys, "shop"), "mtls")
	second := mustStart(t, specs, ca.issue(t, ca.file, "--id", "second", "--service", echoName), onlyFor(auth.Access{Allow: auth.Users}))
	own := ca.issue(t, ca.file, "--id", "first", "--service", echoName)
	next := second.dial(t, own)
	first := serveAs(t, passingOn{next: next, background: !cured}, specs, own)
	got := first.call(t, userToken(keys.token(t, "--user", "alice", "--audience", "shop")), easyops.WithTLSFiles("", "", ca.file))
	if got != nil {
		got["log"] = second.log.cause()
	}
	return got
}

// patience is how long anything may take that should take milliseconds.
const patience = 30 * time.Second

const echoName = "echo.v1.EchoService"
