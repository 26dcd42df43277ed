package main

import (
	"strings"
	"sync"
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
	places := sync.OnceValue(func() map[optionKey]place { return optionPlaces(f.Desc) })
	for _, s := range f.Services {
		if opts := s.Desc.Options(); proto.HasExtension(opts, easyopsv1.E_Service) {
			r := rule{list, s.Desc, ofService(s), places}
			r.service(proto.GetExtension(opts, easyopsv1.E_Service).(*easyopsv1.ServiceRules))
		}
		for _, m := range s.Methods {
			if opts := m.Desc.Options(); proto.HasExtension(opts, easyopsv1.E_Method) {
				r := rule{list, m.Desc, ofMethod(m), places}
				r.method(proto.GetExtension(opts, easyopsv1.E_Method).(*easyopsv1.MethodRules))
			}
		}
	}
}

// rule is an option of a service or a method, while it is checked.
type rule struct {
	faults *faults
	desc   protoreflect.Descriptor
	key    optionKey
	places func() map[optionKey]place
}

func (r rule) fault(format string, args ...any) {
	at, ok := r.places()[r.key]
	if !ok {
		at = placeOf(r.desc)
	}
	args = append([]any{describe(r.desc)}, args...)
	r.faults.add(at, "%s: "+format, args...)
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

// optionKey stands for the option of a service or a method in its file.
type optionKey struct {
	service, method int32 // indexes; the method of a service's own is -1
	option          protoreflect.FieldNumber
}

func ofService(s *protogen.Service) optionKey {
	return optionKey{int32(s.Desc.Index()), -1, easyopsv1.E_Service.TypeDescriptor().Number()}
}

func ofMethod(m *protogen.Method) optionKey {
	return optionKey{int32(m.Parent.Desc.Index()), int32(m.Desc.Index()), easyopsv1.E_Method.TypeDescriptor().Number()}
}

// optionPlaces is where the options of a file's services and methods are set:
// the first place of each. To look for one walks over all that is in the file,
// so it is done once.
func optionPlaces(f protoreflect.FileDescriptor) map[optionKey]place {
	places := map[optionKey]place{}
	locations := f.SourceLocations()
	for i := range locations.Len() {
		loc := locations.Get(i)
		key, ok := optionAt(loc.Path)
		if _, known := places[key]; ok && !known {
			places[key] = placeIn(f, loc)
		}
	}
	return places
}

// optionAt says which option a path in a file is of. The numbers are those of
// the fields in descriptor.proto.
func optionAt(p protoreflect.SourcePath) (key optionKey, ok bool) {
	const services, methods, serviceOptions, methodOptions = 6, 2, 3, 4
	switch {
	case len(p) < 4 || p[0] != services:
		return optionKey{}, false
	case p[2] == serviceOptions:
		return optionKey{p[1], -1, protoreflect.FieldNumber(p[3])}, true
	case len(p) >= 6 && p[2] == methods && p[4] == methodOptions:
		return optionKey{p[1], p[3], protoreflect.FieldNumber(p[5])}, true
	}
	return optionKey{}, false
}
