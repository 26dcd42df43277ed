package easyops

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/go-easyops/easyops/runtime/auth"
)

// rulesOf returns the rule of each method of a service: that of WithAccess, else
// that of the .proto file, else the default. Those of the runtime's own services
// are fixed: health is open, reflection is for authenticated callers.
func (s *Server) rulesOf(desc *grpc.ServiceDesc, ours bool) (map[string]auth.Rule, error) {
	if ours {
		return ownRules(desc), nil
	}
	rules, err := describedRules(desc.ServiceName)
	errs := []error{err}
	for _, method := range methodsOf(desc) {
		rule := rules[method]
		access, overridden := s.override(desc.ServiceName, method)
		switch {
		case overridden:
			rule.Access = access // checked by checkOverrides
		default:
			if err := rule.Access.Validate(); err != nil {
				errs = append(errs, fmt.Errorf("%s/%s: the access rule of its .proto file: %w", desc.ServiceName, method, err))
			}
		}
		rules[method] = rule
	}
	return rules, errors.Join(errs...)
}

// ownRules returns those of a service of the runtime's. Its descriptor is not read:
// that would be a good part of a start.
func ownRules(desc *grpc.ServiceDesc) map[string]auth.Rule {
	rule := auth.Rule{}
	if desc.ServiceName == healthService {
		rule.Access.Allow = auth.Everyone
	}
	rules := map[string]auth.Rule{}
	for _, method := range methodsOf(desc) {
		rules[method] = rule
	}
	return rules
}

// override returns the rule that WithAccess gives a method.
func (s *Server) override(service, method string) (access auth.Access, ok bool) {
	for _, o := range s.cfg.overrides {
		switch o.name {
		case service + "/" + method:
			return o.access, true
		case service:
			access, ok = o.access, true
		}
	}
	return access, ok
}

// checkOverrides finds rules that would have no effect, or none that was meant:
// a rule must not be passed over.
func (s *Server) checkOverrides() {
	known := s.known()
	seen := map[string]bool{}
	for _, o := range s.cfg.overrides {
		service, _, _ := strings.Cut(o.name, "/")
		switch {
		case service == healthService || slices.Contains(reflectionServices, service):
			s.cfg.fault(fmt.Errorf("WithAccess(%q): the rules of the runtime's own services are fixed", o.name))
		case !known[o.name]:
			s.cfg.fault(fmt.Errorf("WithAccess(%q): nothing of that name is served here: write package.Service or package.Service/Method", o.name))
		case seen[o.name]:
			s.cfg.fault(fmt.Errorf("WithAccess(%q) is given twice: one rule holds", o.name))
		}
		seen[o.name] = true
		if err := o.access.Validate(); err != nil {
			s.cfg.fault(fmt.Errorf("WithAccess(%q): %w", o.name, err))
		}
	}
}

// known has the names of the services, and of their methods.
func (s *Server) known() map[string]bool {
	names := map[string]bool{}
	for _, b := range s.services {
		if b.desc == nil {
			continue
		}
		names[b.desc.ServiceName] = true
		for _, method := range methodsOf(b.desc) {
			names[b.desc.ServiceName+"/"+method] = true
		}
	}
	return names
}

// allForEveryone tells whether every rule of every service, handler and route is
// EVERYONE.
func (s *Server) allForEveryone() bool {
	for _, b := range s.services {
		if b.desc == nil {
			continue
		}
		rules, _ := s.rulesOf(b.desc, false) // checked with the service
		for _, method := range methodsOf(b.desc) {
			if rules[method].Access.Allow != auth.Everyone {
				return false
			}
		}
	}
	return s.routed.open && !slices.ContainsFunc(s.cfg.routes, func(r route) bool { return r.access.Allow != auth.Everyone })
}

// methodsOf returns the names of a service's methods of every kind.
func methodsOf(desc *grpc.ServiceDesc) []string {
	names := make([]string, 0, len(desc.Methods)+len(desc.Streams))
	for _, m := range desc.Methods {
		names = append(names, m.MethodName)
	}
	for _, m := range desc.Streams {
		names = append(names, m.StreamName)
	}
	return names
}

// describedRules reads the rules of a service from the descriptor that is linked
// in. Where there is none it has no rules.
func describedRules(service string) (map[string]auth.Rule, error) {
	rules := map[string]auth.Rule{}
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return rules, nil
	}
	sd, ok := d.(protoreflect.ServiceDescriptor)
	if !ok {
		return rules, nil
	}
	var errs []error
	for i := range sd.Methods().Len() {
		m := sd.Methods().Get(i)
		if !says(sd.Options()) && !says(m.Options()) {
			continue // the default
		}
		rule, err := auth.RuleOf(m)
		errs = append(errs, err)
		rules[string(m.Name())] = rule
	}
	return rules, errors.Join(errs...)
}

// says tells whether there are options. To look into them makes protobuf read the
// descriptor of descriptors, which is a good part of a start.
func says(options proto.Message) bool { return options != nil && options.ProtoReflect().IsValid() }
