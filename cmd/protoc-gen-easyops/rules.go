package main

import (
	"strings"
	"unicode"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	easyopsv1 "github.com/go-easyops/easyops/proto/easyops/v1"
)

// declaresOptions says whether the request has easyops' options in it. Where it
// has not, their numbers may be somebody else's.
func declaresOptions(gen *protogen.Plugin) bool {
	want := easyopsv1.E_Service.TypeDescriptor().FullName()
	for _, f := range gen.Files {
		for _, x := range f.Extensions {
			if x.Desc.FullName() == want {
				return true
			}
		}
	}
	return false
}

// checkRules finds options that make no sense.
func (list *faults) checkRules(f *protogen.File) {
	for _, s := range f.Services {
		if opts := s.Desc.Options(); proto.HasExtension(opts, easyopsv1.E_Service) {
			r := rule{list, s.Desc, easyopsv1.E_Service.TypeDescriptor().Number()}
			r.service(proto.GetExtension(opts, easyopsv1.E_Service).(*easyopsv1.ServiceRules))
		}
		for _, m := range s.Methods {
			if opts := m.Desc.Options(); proto.HasExtension(opts, easyopsv1.E_Method) {
				r := rule{list, m.Desc, easyopsv1.E_Method.TypeDescriptor().Number()}
				r.method(proto.GetExtension(opts, easyopsv1.E_Method).(*easyopsv1.MethodRules))
			}
		}
	}
}

// rule is an option of a service or a method, while it is checked.
type rule struct {
	faults *faults
	desc   protoreflect.Descriptor
	option protoreflect.FieldNumber
}

func (r rule) fault(format string, args ...any) {
	args = append([]any{describe(r.desc)}, args...)
	r.faults.add(optionPlace(r.desc, r.option), "%s: "+format, args...)
}

func (r rule) service(rules *easyopsv1.ServiceRules) {
	r.known(rules)
	r.access(rules.GetAccess())
}

func (r rule) method(rules *easyopsv1.MethodRules) {
	r.known(rules)
	r.access(rules.GetAccess())
	if rules.Timeout != nil {
		r.timeout(rules.Timeout)
	}
}

// known refuses what a newer easyops wrote: a rule that is not understood must
// not be passed over.
func (r rule) known(m proto.Message) {
	if len(m.ProtoReflect().GetUnknown()) > 0 {
		r.fault("its %s option has fields that this plugin does not know: install the plugin that fits %s",
			m.ProtoReflect().Descriptor().Name(), easyopsv1.SourcePath)
	}
}

func (r rule) access(a *easyopsv1.Access) {
	if a == nil {
		return
	}
	r.known(a)
	allow := a.GetAllow()
	switch {
	case easyopsv1.Allow_name[int32(allow)] == "":
		r.fault("allow: %d is no value of %s: nobody could call", allow, allow.Descriptor().FullName())
	case allow == easyopsv1.Allow_EVERYONE && len(a.GetGroups())+len(a.GetServices()) > 0:
		r.fault("allow: EVERYONE lets in callers without identity, so groups and services say nothing: leave them out, or say USERS or SERVICES")
	case allow == easyopsv1.Allow_SERVICES && len(a.GetGroups()) > 0:
		r.fault("allow: SERVICES with groups, which only users are in: say USERS, or leave groups out")
	}
	r.names("groups", a.GetGroups())
	r.names("services", a.GetServices())
}

// names refuses names that no caller has.
func (r rule) names(field string, list []string) {
	for _, name := range list {
		switch {
		case name == "":
			r.fault("%s has an empty name", field)
		case name != strings.TrimSpace(name) || strings.ContainsFunc(name, unicode.IsControl):
			r.fault("%s has the name %q, with a space around it or a control character in it", field, name)
		}
	}
}

func (r rule) timeout(d *durationpb.Duration) {
	switch {
	case !d.IsValid():
		r.fault("timeout: %d seconds and %d nanos are not a valid duration", d.GetSeconds(), d.GetNanos())
	case d.AsDuration() <= 0:
		r.fault("timeout: %v is not positive: leave it out where there is no limit", d.AsDuration())
	}
}
