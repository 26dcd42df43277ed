package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/go-easyops/easyops/runtime/registry"
)

// server is an instance whose status API a command asks.
type server struct {
	id       string // "" where it is named by its address, until it says so itself
	addr     string // of the status API; "" where it has none
	host     string // that its certificate must be for, of one named by its address; "" of others
	services []string
	shared   bool                // the address is from a registry that others write to
	entry    registry.Instance   // one of those that the registry has, the zero value for none
	claims   []registry.Instance // the entries of a server's address, where that names it
}

// name is what messages call a server.
func (s *server) name() string {
	if s.id == "" {
		return s.addr
	}
	return s.id + " at " + cmp.Or(s.addr, s.entry.Addr)
}

// isAddr tells whether an argument is host:port rather than a name.
func isAddr(arg string) bool { return strings.Contains(arg, ":") }

// find returns the servers that an argument names: those of a service, one by
// its ID or the beginning of that, or one by its address. With an error and a
// server, all is known but whether it is listed.
func (l *lookup) find(ctx context.Context, arg string) ([]*server, error) {
	if isAddr(arg) {
		return asList(l.byAddr(ctx, arg))
	}
	if err := checkService(arg); err != nil {
		return nil, err
	}
	list, err := l.instances(ctx, arg)
	if err != nil {
		return nil, err
	}
	if len(list) > 0 {
		return l.serversOf(list), nil
	}
	if s, err := l.byID(ctx, arg); s != nil || err != nil {
		return asList(s, err)
	}
	return nil, l.nothing(ctx, "service or instance", arg)
}

func asList(s *server, err error) ([]*server, error) {
	if s == nil {
		return nil, err
	}
	return []*server{s}, err
}

// one returns the server that an argument names, which is no service.
func (l *lookup) one(ctx context.Context, arg string) (*server, error) {
	if isAddr(arg) {
		return l.byAddr(ctx, arg)
	}
	if err := checkService(arg); err != nil {
		return nil, err
	}
	switch s, err := l.byID(ctx, arg); {
	case err != nil || s != nil:
		return s, err
	}
	if list, err := l.instances(ctx, arg); err == nil && len(list) > 0 {
		return nil, usagef("%s is a service: name one of its instances, such as %s", arg, list[0].ID)
	}
	return nil, fmt.Errorf("no instance %s is listed in the %s: easyops ls lists those there are; name one that is not listed by its address, host:port", arg, l.reg)
}

func (l *lookup) serversOf(list []registry.Instance) (all []*server) {
	for _, i := range list {
		s := serverOf(i)
		s.shared = l.shared()
		all = append(all, s)
	}
	return all
}

// serverOf is the server of an entry.
func serverOf(i registry.Instance) *server {
	s := &server{id: i.ID, services: []string{i.Service}, entry: i}
	if slices.Contains(i.Kinds, registry.KindStatus) {
		s.addr = cmp.Or(i.StatusAddr, i.Addr)
	}
	return s
}

// byID returns the server whose ID is, or begins with, an argument; nil for none.
func (l *lookup) byID(ctx context.Context, prefix string) (*server, error) {
	list, err := l.all(ctx)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(i registry.Instance) bool { return !strings.HasPrefix(i.ID, prefix) })
	if slices.ContainsFunc(list, func(i registry.Instance) bool { return i.ID == prefix }) {
		list = slices.DeleteFunc(list, func(i registry.Instance) bool { return i.ID != prefix })
	}
	if ids := idsOf(list); len(ids) > 1 {
		return nil, usagef("%d instances begin with %s: %s", len(ids), prefix, someOf(ids))
	}
	s, err := merge(list)
	if s != nil {
		s.shared = l.shared()
	}
	return s, err
}

// listing is what the registry has of a server that says its ID, or does not say
// it. Of the entries of an address it is that of this ID, or of the only one: a
// stranger may have written the others.
func (s *server) listing(id string) registry.Instance {
	if s.host == "" {
		return s.entry
	}
	if ids := idsOf(s.claims); id == "" && len(ids) == 1 {
		id = ids[0]
	}
	if n := slices.IndexFunc(s.claims, func(i registry.Instance) bool { return i.ID == id }); n >= 0 {
		return s.claims[n]
	}
	return registry.Instance{}
}

// hint adds to the error of an address without a status API where the registry
// has it. It is not asked there: that could be anybody's entry.
func (s *server) hint(err error) error {
	var others []string
	for _, i := range s.claims {
		if at, _, _ := net.SplitHostPort(i.StatusAddr); at == s.host && i.StatusAddr != s.addr {
			others = append(others, printable(i.StatusAddr))
		}
	}
	if refused, ok := errors.AsType[refusedError](err); err == nil || len(others) == 0 || ok && refused.knowsAPI() {
		return err
	}
	slices.Sort(others)
	return fmt.Errorf("%w: the registry has its status API at %s: if that is right, name it so", err, someOf(slices.Compact(others)))
}

// merge makes one server of the entries of one ID, nil of none. What they say of
// the status API must agree: whoever could add an entry of the same ID would
// else be asked in its place.
func merge(list []registry.Instance) (s *server, err error) {
	for _, i := range list {
		next := serverOf(i)
		switch {
		case s == nil || s.addr == "" && next.addr != "":
			if s != nil {
				next.services = append(s.services, next.services...)
			}
			s = next
		case next.addr != "" && next.addr != s.addr:
			return nil, fmt.Errorf("the entries of instance %s name different addresses, %s and %s: name the one that is right by its address", s.id, s.addr, next.addr)
		default:
			s.services = append(s.services, next.services...)
		}
	}
	return s, nil
}

// byAddr returns the server at an address, whether it is listed or not. It is
// asked there and nowhere else. What the registry says of it is for messages
// alone, because anybody may have listed the address: the server proves that it
// is the host.
func (l *lookup) byAddr(ctx context.Context, addr string) (*server, error) {
	if err := registry.ValidAddr(addr); err != nil {
		return nil, usagef("%w", err)
	}
	host, _, _ := net.SplitHostPort(addr)
	s := &server{addr: addr, host: host}
	if l.isNone() {
		return s, nil
	}
	list, err := l.all(ctx)
	if err != nil {
		return s, err
	}
	s.claims = slices.DeleteFunc(list, func(i registry.Instance) bool { return i.Addr != addr && i.StatusAddr != addr })
	return s, nil
}

func idsOf(list []registry.Instance) (ids []string) {
	for _, i := range list {
		ids = append(ids, i.ID)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// someOf names a few.
func someOf(names []string) string {
	const most = 5
	if more := len(names) - most; more > 0 {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}
