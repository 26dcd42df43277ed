// Package auth knows who may call: the access rules of .proto files, and where
// they come from.
package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	easyopsv1 "github.com/go-easyops/easyops/proto/easyops/v1"
)

// Allow names the kinds of caller that a rule lets in.
type Allow int

// The kinds of caller. The zero value is the default of every method that
// says nothing: deny all who are not authenticated.
const (
	Authenticated Allow = iota // a user or a service
	Users                      // a user
	Services                   // a service
	Everyone                   // everyone, without identity too
)

var allowNames = [...]string{"AUTHENTICATED", "USERS", "SERVICES", "EVERYONE"}

// String returns the name that .proto files use.
func (a Allow) String() string {
	if a < 0 || int(a) >= len(allowNames) {
		return fmt.Sprintf("Allow(%d)", int(a))
	}
	return allowNames[a]
}

// Access is the access rule of a method or an HTTP handler. The zero value
// lets in every authenticated caller and nobody else.
type Access struct {
	Allow    Allow
	Groups   []string // the user must be in one of them, if there are any
	Services []string // the calling service must be one of them, if there are any
}

// String returns the rule as one line for people.
func (a Access) String() string {
	s := a.Allow.String()
	if len(a.Groups) > 0 {
		s += " groups: " + strings.Join(a.Groups, ", ")
	}
	if len(a.Services) > 0 {
		s += " services: " + strings.Join(a.Services, ", ")
	}
	return s
}

// Rule is what a .proto file says of a method.
type Rule struct {
	Access  Access
	Timeout time.Duration // the deadline where the client sent none or a longer one; 0 is none
}

// RuleOf returns the rule of a method: its own access rule, else its service's,
// else the default. It reads the options easyops.v1.method and
// easyops.v1.service. What a newer version of them says and this one does not
// know is an error, as are options that were decoded without them: a rule must not be passed over.
func RuleOf(m protoreflect.MethodDescriptor) (Rule, error) {
	if isUnresolved(m.Options(), easyopsv1.E_Method) || isUnresolved(m.Parent().Options(), easyopsv1.E_Service) {
		return Rule{}, errUnknown(m)
	}
	own, _ := proto.GetExtension(m.Options(), easyopsv1.E_Method).(*easyopsv1.MethodRules)
	all, _ := proto.GetExtension(m.Parent().Options(), easyopsv1.E_Service).(*easyopsv1.ServiceRules)
	access := own.GetAccess()
	if access == nil {
		access = all.GetAccess()
	}
	for _, part := range []proto.Message{own, all, access} {
		if len(part.ProtoReflect().GetUnknown()) > 0 {
			return Rule{}, errUnknown(m)
		}
	}
	var r Rule
	var known bool
	if r.Access, known = accessOf(access); !known {
		return Rule{}, errUnknown(m)
	}
	if t := own.GetTimeout(); t.IsValid() {
		r.Timeout = max(0, t.AsDuration())
	}
	return r, nil
}

// isUnresolved tells whether options have an extension that was not decoded, as
// by who did not know of it.
func isUnresolved(options proto.Message, extension protoreflect.ExtensionType) bool {
	if options == nil {
		return false
	}
	rest := options.ProtoReflect().GetUnknown()
	for len(rest) > 0 {
		number, _, n := protowire.ConsumeField(rest)
		if n < 0 || number == extension.TypeDescriptor().Number() {
			return true
		}
		rest = rest[n:]
	}
	return false
}

func errUnknown(m protoreflect.MethodDescriptor) error {
	return fmt.Errorf("%s: its options say what this version of easyops does not know: update github.com/go-easyops/easyops", m.FullName())
}

// accessOf translates the option.
func accessOf(a *easyopsv1.Access) (access Access, known bool) {
	access = Access{Groups: a.GetGroups(), Services: a.GetServices()}
	switch a.GetAllow() {
	case easyopsv1.Allow_DEFAULT, easyopsv1.Allow_AUTHENTICATED:
	case easyopsv1.Allow_USERS:
		access.Allow = Users
	case easyopsv1.Allow_SERVICES:
		access.Allow = Services
	case easyopsv1.Allow_EVERYONE:
		access.Allow = Everyone
	default:
		return Access{}, false
	}
	return access, true
}

// Check tells whether an identity may call. An error wraps [ErrUnauthenticated]
// where there is no identity, and [ErrDenied] where it is the wrong one; it
// names what the rule wants, for the log.
func (a Access) Check(id Identity) error {
	user, service := id.User, id.Service
	switch {
	case a.Allow == Everyone:
		return nil
	case user == nil && service == nil:
		return ErrUnauthenticated
	case a.Allow == Users && user == nil, a.Allow == Services && service == nil, a.Allow > Everyone, a.Allow < 0:
		return fmt.Errorf("%w: %v", ErrDenied, a)
	case len(a.Groups) > 0 && (user == nil || !slices.ContainsFunc(a.Groups, user.inGroup)):
		return fmt.Errorf("%w: the user is in none of the groups %s", ErrDenied, strings.Join(a.Groups, ", "))
	case len(a.Services) > 0 && (service == nil || !slices.ContainsFunc(a.Services, service.isNamed)):
		return fmt.Errorf("%w: the service is none of %s", ErrDenied, strings.Join(a.Services, ", "))
	}
	return nil
}

// Validate returns what makes no sense in a rule, or nil.
func (a Access) Validate() error {
	switch {
	case a.Allow < Authenticated || a.Allow > Everyone:
		return fmt.Errorf("%v is no kind of caller", a.Allow)
	case a.Allow == Everyone && (len(a.Groups) > 0 || len(a.Services) > 0):
		return errors.New("EVERYONE with groups or services: it would let everyone in all the same")
	case a.Allow == Services && len(a.Groups) > 0:
		return errors.New("SERVICES with groups: groups are of users")
	case slices.Contains(a.Groups, "") || slices.Contains(a.Services, ""):
		return errors.New("an empty name in groups or services")
	}
	return nil
}

func (p *Principal) inGroup(group string) bool { return slices.Contains(p.Groups, group) }

// isNamed tells whether a rule that names the service means this one.
func (p *Principal) isNamed(name string) bool {
	if p.names != nil {
		return slices.Contains(p.names, name)
	}
	return p.ID == name
}
