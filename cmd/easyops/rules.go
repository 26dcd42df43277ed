package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/go-easyops/easyops/runtime/auth"

	easyopsv1 "github.com/go-easyops/easyops/proto/easyops/v1"
)

// rule says who may call a method.
type rule struct {
	Service  string   `json:"service"`
	Method   string   `json:"method"`
	Allow    string   `json:"allow"`
	Groups   []string `json:"groups"`
	Services []string `json:"services"`
	From     string   `json:"from"`            // method, service or default
	Timeout  float64  `json:"timeout_seconds"` // 0 is none
	File     string   `json:"file"`

	access auth.Access
}

func (r rule) name() string { return r.Service + "/" + r.Method }

// rulesOfSet reads the rules of the services in a FileDescriptorSet. Files that
// buf put there because others import them are left out.
func rulesOfSet(text []byte) ([]rule, error) {
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(text, set); err != nil {
		return nil, errors.New("it is no FileDescriptorSet: buf build -o FILE makes one, and protoc --include_imports -o FILE")
	}
	if len(set.GetFile()) == 0 {
		return nil, errors.New("it is empty")
	}
	files, err := protodesc.FileOptions{AllowUnresolvable: true}.NewFiles(set)
	if err != nil {
		return nil, err
	}
	var rules []rule
	var errs []error
	for _, f := range set.GetFile() {
		if isImport(f) {
			continue
		}
		d, err := files.FindFileByPath(f.GetName())
		if err != nil {
			return nil, err
		}
		of, err := rulesOfFile(d)
		rules, errs = append(rules, of...), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return sorted(rules)
}

// isImport tells whether buf says so: in field 1 of the message that is field
// 8042 of a file in a buf.alpha.image.v1.Image.
func isImport(f *descriptorpb.FileDescriptorProto) bool {
	field := func(b []byte, number protowire.Number) (value []byte) {
		for len(b) > 0 {
			n, kind, size := protowire.ConsumeTag(b)
			if size < 0 {
				return value
			}
			length := protowire.ConsumeFieldValue(n, kind, b[size:])
			if length < 0 {
				return value
			}
			if n == number {
				value = b[size : size+length]
			}
			b = b[size+length:]
		}
		return value
	}
	extension, _ := protowire.ConsumeBytes(field(f.ProtoReflect().GetUnknown(), 8042))
	value, _ := protowire.ConsumeVarint(field(extension, 1))
	return value == 1
}

// rulesOfFile reads the rules of the services in a file.
func rulesOfFile(f protoreflect.FileDescriptor) (rules []rule, err error) {
	var errs []error
	for i := range f.Services().Len() {
		s := f.Services().Get(i)
		for j := range s.Methods().Len() {
			r, err := ruleOf(s.Methods().Get(j))
			rules, errs = append(rules, r), append(errs, err)
		}
	}
	return rules, errors.Join(errs...)
}

func ruleOf(m protoreflect.MethodDescriptor) (rule, error) {
	of, err := auth.RuleOf(m)
	if err != nil {
		return rule{}, err
	}
	if err := of.Access.Validate(); err != nil {
		return rule{}, fmt.Errorf("%s: %s: %w", m.ParentFile().Path(), m.FullName(), err)
	}
	return rule{
		Service:  string(m.Parent().FullName()),
		Method:   string(m.Name()),
		Allow:    of.Access.Allow.String(),
		Groups:   append([]string{}, of.Access.Groups...),
		Services: append([]string{}, of.Access.Services...),
		From:     origin(m),
		Timeout:  of.Timeout.Seconds(),
		File:     m.ParentFile().Path(),
		access:   of.Access,
	}, nil
}

// origin says which option the rule of a method is from.
func origin(m protoreflect.MethodDescriptor) string {
	own, _ := proto.GetExtension(m.Options(), easyopsv1.E_Method).(*easyopsv1.MethodRules)
	all, _ := proto.GetExtension(m.Parent().Options(), easyopsv1.E_Service).(*easyopsv1.ServiceRules)
	switch {
	case own.GetAccess() != nil:
		return "method"
	case all.GetAccess() != nil:
		return "service"
	}
	return "default"
}

// sorted sorts rules by name. The same method may be there twice, as where paths
// overlap, but not with two rules.
func sorted(rules []rule) ([]rule, error) {
	slices.SortStableFunc(rules, func(a, b rule) int { return strings.Compare(a.name(), b.name()) })
	var errs []error
	rules = slices.CompactFunc(rules, func(a, b rule) bool {
		if a.name() != b.name() {
			return false
		}
		if a.access.String() != b.access.String() {
			errs = append(errs, fmt.Errorf("%s has two rules, in %s and %s: name the files that count", a.name(), a.File, b.File))
		}
		return true
	})
	return rules, errors.Join(errs...)
}

// document is the JSON of the rules.
type document struct {
	Version int    `json:"version"`
	Methods []rule `json:"methods"`
}

// rulesOfJSON reads what printRules has written.
func rulesOfJSON(text []byte) ([]rule, error) {
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, err
	}
	if d.Version != 1 || d.Methods == nil {
		return nil, errors.New("it is not what easyops access --format json writes, version 1")
	}
	for i, r := range d.Methods {
		allow, known := allows[r.Allow]
		if !known {
			return nil, fmt.Errorf("%s: this version of easyops does not know what allow %q means: update it", r.name(), r.Allow)
		}
		d.Methods[i].access = auth.Access{Allow: allow, Groups: r.Groups, Services: r.Services}
		if err := d.Methods[i].access.Validate(); err != nil {
			return nil, fmt.Errorf("%s: %w", r.name(), err)
		}
	}
	return sorted(d.Methods)
}

var allows = map[string]auth.Allow{
	auth.Authenticated.String(): auth.Authenticated,
	auth.Users.String():         auth.Users,
	auth.Services.String():      auth.Services,
	auth.Everyone.String():      auth.Everyone,
}

// timeout is for people.
func (r rule) timeout() string {
	if r.Timeout == 0 {
		return "-"
	}
	l := lifetime(time.Duration(r.Timeout * float64(time.Second)))
	return l.String()
}
