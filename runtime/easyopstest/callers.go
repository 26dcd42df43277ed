package easyopstest

import (
	"crypto/ed25519"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/go-easyops/easyops/runtime/auth"
)

// caller is someone whom a rule makes a difference for.
type caller struct {
	name          string
	user, service string // tokens; "" for none
	group         string // of the user
	serviceID     string
	spoilt        bool // a token is not good
}

// callersOf returns who calls a method: each kind of user by each kind of
// service, and who would be admitted, but for a token that is not good.
func callersOf(rule auth.Access) (all []caller) {
	users, services := usersOf(rule), servicesOf(rule)
	for _, u := range users {
		for _, s := range services {
			all = append(all, u.by(s))
		}
	}
	// The last of each is the one that the rule wants.
	return append(all, spoiltOf(users[len(users)-1].by(services[len(services)-1]))...)
}

const (
	userID    = "user-of-easyopstest"
	serviceID = "service-of-easyopstest" // that no rule names
)

func usersOf(rule auth.Access) []caller {
	all := []caller{{}, {name: "user", user: UserToken(userID)}}
	for _, g := range rule.Groups {
		all = append(all, caller{name: "user in " + g, user: UserToken(userID, g), group: g})
	}
	return all
}

func servicesOf(rule auth.Access) []caller {
	all := []caller{{}, {name: "service", service: ServiceToken(serviceID), serviceID: serviceID}}
	for _, s := range rule.Services {
		all = append(all, caller{name: "service " + s, service: ServiceToken(s), serviceID: s})
	}
	return all
}

// by is a user who calls by a service.
func (c caller) by(s caller) caller {
	name := c.name + " by " + s.name
	switch {
	case c.name == "" && s.name == "":
		name = "nobody"
	case c.name == "":
		name = s.name
	case s.name == "":
		name = c.name
	}
	return caller{name: name, user: c.user, group: c.group, service: s.service, serviceID: s.serviceID}
}

// spoiltOf returns a caller with a user and a service, of which one cannot be
// believed.
func spoiltOf(good caller) (all []caller) {
	var groups []string
	if good.group != "" {
		groups = []string{good.group}
	}
	user := claims{issuer: userIssuer, id: userID, groups: groups}
	service := claims{issuer: serviceIssuer, id: subject(good.serviceID)}
	const longAgo = lifetime + time.Hour
	for _, how := range []struct {
		name string
		age  time.Duration
		key  ed25519.PrivateKey
	}{{"expired", longAgo, processKey()}, {"forged", 0, newKey()}} {
		user.age, service.age = how.age, how.age
		u, s := good, good
		u.name, u.user, u.spoilt = how.name+" user", user.sign(how.key), true
		s.name, s.service, s.spoilt = how.name+" service", service.sign(how.key), true
		all = append(all, u, s)
	}
	return all
}

// wantFrom says what should become of a call. It is written from what rules
// mean and not from how the runtime checks them, which is what is to be proven.
func (c caller) wantFrom(rule auth.Access) outcome {
	var (
		isUser     = c.user != ""
		isService  = c.service != ""
		inGroup    = len(rule.Groups) == 0 || isUser && slices.Contains(rule.Groups, c.group)
		isNamed    = len(rule.Services) == 0 || isService && slices.Contains(rule.Services, c.serviceID)
		rightKind  = map[auth.Allow]bool{auth.Authenticated: isUser || isService, auth.Users: isUser, auth.Services: isService}[rule.Allow]
		identified = (isUser || isService) && !c.spoilt
	)
	switch {
	case rule.Allow == auth.Everyone:
		return outcome{admitted: true}
	case !identified:
		return outcome{code: codes.Unauthenticated}
	case rightKind && inGroup && isNamed:
		return outcome{admitted: true}
	}
	return outcome{code: codes.PermissionDenied}
}
