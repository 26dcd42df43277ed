package auth

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/bufbuild/protocompile"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	easyopsv1 "github.com/go-easyops/easyops/proto/easyops/v1"
)

const source = `
syntax = "proto3";
package t;
import "easyops/v1/options.proto";
message M {}
service Silent {
  rpc Nothing(M) returns (M);
  rpc Own(M) returns (M) { option (easyops.v1.method) = { access: { allow: EVERYONE } }; }
}
service Loud {
  option (easyops.v1.service) = { access: { allow: USERS groups: "staff" groups: "ops" } };
  rpc Inherits(M) returns (M);
  rpc TimeoutOnly(M) returns (M) { option (easyops.v1.method) = { timeout: { seconds: 5 } }; }
  rpc Replaces(M) returns (stream M) { option (easyops.v1.method) = { access: { allow: SERVICES services: "billing" } }; }
  rpc BackToDefault(M) returns (M) { option (easyops.v1.method) = { access: {} }; }
  rpc NoTime(M) returns (M) { option (easyops.v1.method) = { timeout: { seconds: -5 } }; }
}
`

func TestRuleOf(t *testing.T) {
	staff := Access{Allow: Users, Groups: []string{"staff", "ops"}}
	for name, want := range map[string]Rule{
		"t.Silent.Nothing":     {},
		"t.Silent.Own":         {Access: Access{Allow: Everyone}},
		"t.Loud.Inherits":      {Access: staff},
		"t.Loud.TimeoutOnly":   {Access: staff, Timeout: 5 * time.Second},
		"t.Loud.Replaces":      {Access: Access{Allow: Services, Services: []string{"billing"}}},
		"t.Loud.BackToDefault": {},
		"t.Loud.NoTime":        {Access: staff},
	} {
		got, err := RuleOf(method(t, protoreflect.FullName(name)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// A rule of a newer version must not be passed over: what it forbids would be
// allowed.
func TestRulesOfANewerVersion(t *testing.T) {
	for name, change := range map[string]func(*easyopsv1.MethodRules){
		"unknown value": func(r *easyopsv1.MethodRules) { r.Access.Allow = 77 },
		"unknown field of access": func(r *easyopsv1.MethodRules) {
			r.Access.ProtoReflect().SetUnknown(protoreflect.RawFields{0x98, 0x06, 0x01}) // field 99: 1
		},
		"unknown field of rules": func(r *easyopsv1.MethodRules) {
			r.ProtoReflect().SetUnknown(protoreflect.RawFields{0x98, 0x06, 0x01})
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := method(t, "t.Silent.Own")
			rules := proto.Clone(proto.GetExtension(m.Options(), easyopsv1.E_Method).(proto.Message)).(*easyopsv1.MethodRules)
			change(rules)
			proto.SetExtension(m.Options(), easyopsv1.E_Method, rules)
			rule, err := RuleOf(m)
			if err == nil || !strings.Contains(err.Error(), "t.Silent.Own") || !strings.Contains(err.Error(), "update") {
				t.Errorf("got %v, %v, want an error that says to update", rule, err)
			}
		})
	}
}

// Options that were read by who did not know of rules hold them all the same.
func TestRulesThatWereNotDecoded(t *testing.T) {
	rules := &easyopsv1.MethodRules{Access: &easyopsv1.Access{Allow: easyopsv1.Allow_USERS, Groups: []string{"staff"}}}
	all := &easyopsv1.ServiceRules{Access: rules.Access}
	for name, c := range map[string]struct {
		method, service func(proto.Message)
		err             string
	}{
		"none":         {err: ""},
		"of a method":  {method: func(o proto.Message) { proto.SetExtension(o, easyopsv1.E_Method, rules) }, err: "zz.S.Do"},
		"of a service": {service: func(o proto.Message) { proto.SetExtension(o, easyopsv1.E_Service, all) }, err: "zz.S.Do"},
		"of others": {method: func(o proto.Message) {
			o.ProtoReflect().SetUnknown(protoreflect.RawFields{0x98, 0x9d, 0x19, 0x01}) // field 51731: 1
		}},
	} {
		for decoded, resolver := range map[bool]*protoregistry.Types{false: {}, true: protoregistry.GlobalTypes} {
			m := withOptions(t, resolver, c.method, c.service)
			want := c.err
			if decoded {
				want = ""
			}
			if r, err := RuleOf(m); !matches(err, want) || decoded && c.err != "" && r.Access.Allow != Users {
				t.Errorf("%s, decoded %v: got %v, %v, want %q", name, decoded, r, err, want)
			}
		}
	}
}

// withOptions returns a method whose options went over the wire and were read
// by who knows of the resolver's extensions.
func withOptions(t *testing.T, resolver *protoregistry.Types, ofMethod, ofService func(proto.Message)) protoreflect.MethodDescriptor {
	t.Helper()
	method, service := &descriptorpb.MethodOptions{}, &descriptorpb.ServiceOptions{}
	if ofMethod != nil {
		ofMethod(method)
	}
	if ofService != nil {
		ofService(service)
	}
	raw, err := proto.Marshal(&descriptorpb.FileDescriptorProto{
		Name: proto.String("zz.proto"), Package: proto.String("zz"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("M")}},
		Service: []*descriptorpb.ServiceDescriptorProto{{
			Name: proto.String("S"), Options: service,
			Method: []*descriptorpb.MethodDescriptorProto{{
				Name: proto.String("Do"), InputType: proto.String(".zz.M"), OutputType: proto.String(".zz.M"), Options: method,
			}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	fd := &descriptorpb.FileDescriptorProto{}
	if err := (proto.UnmarshalOptions{Resolver: resolver}).Unmarshal(raw, fd); err != nil {
		t.Fatal(err)
	}
	file, err := protodesc.NewFile(fd, nil)
	if err != nil {
		t.Fatal(err)
	}
	return file.Services().Get(0).Methods().Get(0)
}

func TestString(t *testing.T) {
	for want, a := range map[string]Access{
		"AUTHENTICATED": {},
		"EVERYONE":      {Allow: Everyone},
		"USERS groups: staff, ops services: billing": {Allow: Users, Groups: []string{"staff", "ops"}, Services: []string{"billing"}},
		"Allow(9)": {Allow: 9},
	} {
		if got := a.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// method returns a method of the source, whose options are those of messages of
// our own, as in a program with generated code.
func method(t *testing.T, name protoreflect.FullName) protoreflect.MethodDescriptor {
	t.Helper()
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
		Accessor: protocompile.SourceAccessorFromMap(map[string]string{"t.proto": source, easyopsv1.SourcePath: easyopsv1.Source()}),
	})}
	files, err := c.Compile(context.Background(), "t.proto")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := proto.Marshal(protodesc.ToFileDescriptorProto(files[0]))
	if err != nil {
		t.Fatal(err)
	}
	fd := &descriptorpb.FileDescriptorProto{}
	if err := proto.Unmarshal(raw, fd); err != nil { // with the extensions that are linked in
		t.Fatal(err)
	}
	file, err := protodesc.NewFile(fd, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	for i := range file.Services().Len() {
		for j := range file.Services().Get(i).Methods().Len() {
			if m := file.Services().Get(i).Methods().Get(j); m.FullName() == name {
				return m
			}
		}
	}
	t.Fatalf("there is no method %s", name)
	return nil
}

// Every kind of rule against every kind of caller.
func TestCheck(t *testing.T) {
	alice := &Principal{ID: "alice", Groups: []string{"dev"}}
	staff := &Principal{ID: "bob", Groups: []string{"dev", "staff"}}
	billing, echo := &Principal{ID: "billing"}, &Principal{ID: "echo"}
	spiffe := &Principal{ID: "spiffe://example/ns/billing", names: []string{"spiffe://example/ns/billing", "billing"}}
	foreign := &Principal{ID: "billing", Groups: []string{"staff"}, names: []string{}}
	callers := []struct {
		name string
		id   Identity
	}{
		{"nobody", Identity{}},
		{"alice", Identity{User: alice}},
		{"staff", Identity{User: staff}},
		{"billing", Identity{Service: billing}},
		{"echo", Identity{Service: echo}},
		{"spiffe", Identity{Service: spiffe}},
		{"foreign", Identity{Service: foreign}},
		{"alice by billing", Identity{alice, billing}},
		{"staff by billing", Identity{staff, billing}},
		{"staff by echo", Identity{staff, echo}},
		{"staff by foreign", Identity{staff, foreign}},
	}
	groups, services := []string{"admins", "staff"}, []string{"billing", "x"}
	for _, c := range []struct {
		rule Access
		want string // a column a caller: + passes, - is denied, 0 is unauthenticated
	}{
		{Access{}, "0++++++++++"},
		{Access{Allow: Everyone}, "+++++++++++"},
		{Access{Allow: Users}, "0++----++++"},
		{Access{Allow: Services}, "0--++++++++"},
		{Access{Groups: groups}, "0-+-----+++"},
		{Access{Allow: Users, Groups: groups}, "0-+-----+++"},
		{Access{Services: services}, "0--+-+-++--"},
		{Access{Allow: Services, Services: services}, "0--+-+-++--"},
		{Access{Allow: Users, Services: services}, "0------++--"},
		{Access{Groups: groups, Services: services}, "0-------+--"},
		{Access{Services: []string{"spiffe://example/ns/billing"}}, "0----+-----"},
		{Access{Services: []string{""}}, "0----------"},
		{Access{Groups: []string{""}}, "0----------"},
		{Access{Allow: Services, Groups: groups}, "0-------+++"},
		{Access{Allow: 9}, "0----------"},
		{Access{Allow: -1}, "0----------"},
	} {
		var got string
		for _, caller := range callers {
			err := c.rule.Check(caller.id)
			switch {
			case err == nil:
				got += "+"
			case errors.Is(err, ErrUnauthenticated) && !errors.Is(err, ErrDenied):
				got += "0"
			case errors.Is(err, ErrDenied) && !errors.Is(err, ErrUnauthenticated):
				got += "-"
			default:
				t.Errorf("%v: %s: %v", c.rule, caller.name, err)
			}
		}
		if got != c.want {
			t.Errorf("%v: got %s, want %s", c.rule, got, c.want)
		}
	}
}

func TestValidate(t *testing.T) {
	for want, rules := range map[string][]Access{
		"": {
			{},
			{Allow: Everyone},
			{Allow: Users, Groups: []string{"g"}, Services: []string{"s"}},
			{Allow: Services, Services: []string{"s"}},
			{Groups: []string{"g"}},
		},
		"no kind of caller":      {{Allow: 4}, {Allow: -1}},
		"EVERYONE with groups":   {{Allow: Everyone, Groups: []string{"g"}}, {Allow: Everyone, Services: []string{"s"}}},
		"SERVICES with groups":   {{Allow: Services, Groups: []string{"g"}}},
		"an empty name in group": {{Groups: []string{"g", ""}}, {Services: []string{""}}},
	} {
		for _, a := range rules {
			if err := a.Validate(); !matches(err, want) {
				t.Errorf("%v: got %v, want %q", a, err, want)
			}
		}
	}
}
