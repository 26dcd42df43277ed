package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/go-easyops/easyops/runtime/auth"
)

// oneFile is a set of a file without services.
var oneFile = &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{{Name: proto.String("x.proto")}}}

func users(groups ...string) auth.Access { return auth.Access{Allow: auth.Users, Groups: groups} }

func services(names ...string) auth.Access           { return auth.Access{Allow: auth.Services, Services: names} }
func anybody(a auth.Access) auth.Access              { a.Allow = auth.Authenticated; return a }
func through(a auth.Access, s ...string) auth.Access { a.Services = s; return a }

func TestCompareRules(t *testing.T) {
	var authenticated auth.Access
	everyone := auth.Access{Allow: auth.Everyone}
	for _, test := range []struct {
		before, after auth.Access
		change        string // "" is none
		letsIn        string
	}{
		{authenticated, authenticated, "", ""},
		{users("a", "b"), users("b", "a"), "", ""},
		{users("a"), anybody(users("a")), "", ""},       // groups ask for a user
		{services("s"), anybody(services("s")), "", ""}, // services for a service
		{through(users("a"), "s"), anybody(through(users("a"), "s")), "", ""},

		{authenticated, everyone, isWidened, "everyone"},
		{users(), everyone, isWidened, "everyone"},
		{users(), authenticated, isWidened, "services"},
		{services(), authenticated, isWidened, "users"},
		{users("a"), users(), isWidened, "users"},
		{users("a"), users("a", "b"), isWidened, "users in group b"},
		{services("s"), services(), isWidened, "services"},
		{services("s"), services("s", "t"), isWidened, "service t"},
		{through(users("a"), "s"), users("a"), isWidened, "users in group a"},
		{through(users("a"), "s"), through(users("a"), "s", "t"), isWidened, "users in group a through service t"},
		{through(users("a"), "s"), services("s"), isWidened, "service s"},
		{through(users("a"), "s"), through(users(), "s"), isWidened, "users through service s"},
		{through(users(), "s"), users(), isWidened, "users"},
		{users("a"), authenticated, isWidened, "services; users"},

		{everyone, authenticated, narrowed, ""},
		{authenticated, users(), narrowed, ""},
		{authenticated, users("a"), narrowed, ""},
		{users("a", "b"), users("a"), narrowed, ""},
		{services("s", "t"), services("t"), narrowed, ""},
		{users("a"), through(users("a"), "s"), narrowed, ""},

		{users(), services(), incomparable, "services"},
		{users("a"), users("b"), incomparable, "users in group b"},
		{services("s"), services("t"), incomparable, "service t"},
		{users("a"), services("s"), incomparable, "service s"},
		{through(users("a"), "s"), users("b"), incomparable, "users in group b"},
		// Whether a bare name is the whole one depends on where the server runs.
		{services("s"), services("spiffe://x/s"), incomparable, "service spiffe://x/s"},
	} {
		t.Run(test.before.String()+" to "+test.after.String(), func(t *testing.T) {
			got, changed := compareRules(&rule{access: test.before}, &rule{access: test.after})
			if got.Change != test.change || changed != (test.change != "") || got.Widened != (test.letsIn != "") {
				t.Errorf("got %q, widened %v", got.Change, got.Widened)
			}
			if letsIn := strings.Join(got.LetsIn, "; "); letsIn != test.letsIn {
				t.Errorf("it lets in %q, want %q", letsIn, test.letsIn)
			}
		})
	}
}

// TestCompareIsComplete holds the classes against all identities that two groups
// and two services make, of rules with no more.
func TestCompareIsComplete(t *testing.T) {
	var rules []auth.Access
	lists := [][]string{nil, {"x"}, {"y"}, {"x", "y"}}
	for allow := auth.Authenticated; allow <= auth.Everyone; allow++ {
		for _, groups := range lists {
			for _, names := range lists {
				if a := (auth.Access{Allow: allow, Groups: groups, Services: names}); a.Validate() == nil {
					rules = append(rules, a)
				}
			}
		}
	}
	var all []auth.Identity
	for _, groups := range append(lists, []string{"z"}, []string{"x", "z"}) {
		for _, service := range []string{"", "x", "y", "z"} {
			id := auth.Identity{User: &auth.Principal{ID: "u", Groups: groups}}
			if service != "" {
				id.Service = &auth.Principal{ID: service}
			}
			all = append(all, id, auth.Identity{Service: id.Service})
		}
	}
	for _, before := range rules {
		for _, after := range rules {
			in, out := false, false
			for _, id := range all {
				was, is := before.Check(id) == nil, after.Check(id) == nil
				in, out = in || is && !was, out || was && !is
			}
			c, changed := compareRules(&rule{access: before}, &rule{access: after})
			if changed != (in || out) || c.Widened != in || (len(c.LetsIn) > 0) != in || changed && (c.Change == incomparable) != (in && out) {
				t.Errorf("%v to %v: got %+v, want in %v, out %v", before, after, c, in, out)
			}
		}
	}
	if len(rules) < 30 || len(all) < 40 {
		t.Errorf("%d rules, %d identities", len(rules), len(all))
	}
}

func TestCompare(t *testing.T) {
	method := func(name string, a auth.Access) rule { return rule{Service: "s.S", Method: name, access: a} }
	kinds := func(changes []change) (all []string) {
		for _, c := range changes {
			all = append(all, c.Method+" "+c.Change)
		}
		return all
	}
	before := []rule{method("B", users()), method("C", users()), method("D", users()), method("F", users())}
	after := []rule{method("A", users()), method("C", users()), method("D", services()), method("E", auth.Access{Allow: auth.Everyone})}
	got := compare(before, after, false)
	if diff := cmp.Diff([]string{"A added", "B removed", "D incomparable", "E added", "F removed"}, kinds(got)); diff != "" {
		t.Error(diff)
	}
	if got[0].Widened || !got[3].Widened || compare(before, after, true)[3].Widened {
		t.Error("of what is new, EVERYONE alone is widened, and only where it is not allowed")
	}
	if changes := compare(nil, nil, false); changes == nil || len(changes) != 0 {
		t.Errorf("%v", changes) // JSON shows an empty list
	}
}

func TestLetsInIsShort(t *testing.T) {
	c, _ := compareRules(&rule{access: users("a")}, &rule{access: users("a", "b", "c", "d", "e", "f")})
	if got := c.letsIn(); len(c.LetsIn) != 5 || got != "users in group b; users in group c; users in group d; and 2 more" {
		t.Errorf("%q", got)
	}
}
