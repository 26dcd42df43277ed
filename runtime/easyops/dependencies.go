package easyops

import (
	"maps"
	"slices"
	"sort"
	"strings"

	"google.golang.org/grpc/connectivity"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/go-easyops/easyops/runtime/status"
)

// dependencies are the services that the program has clients for: those that are
// dialled, and those whose descriptors are linked in, in the order of their names.
func (s *Server) dependencies() []status.Dependency {
	all := s.linkedIn(protoregistry.GlobalFiles)
	for _, o := range outbound(conns()) {
		d := all[o.Service]
		d.Service, d.Linked = o.Service, isLinked(o.Service)
		d.Clients++
		d.State = worse(d.State, o.State)
		all[o.Service] = d
	}
	found := slices.Collect(maps.Values(all))
	sort.Slice(found, func(i, j int) bool { return found[i].Service < found[j].Service })
	return found
}

// linkedIn are the services that a program with these descriptors may call. Code
// of a service brings its client with it, so all may be called but what is not
// meant: what this server serves itself, and what libraries bring along.
func (s *Server) linkedIn(files *protoregistry.Files) map[string]status.Dependency {
	served := s.grpc.GetServiceInfo()
	all := map[string]status.Dependency{}
	files.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			name := string(f.Services().Get(i).FullName())
			if _, ours := served[name]; !ours && !brought(name) {
				all[name] = status.Dependency{Service: name, Linked: true}
			}
		}
		return true
	})
	return all
}

func isLinked(service string) bool {
	_, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	return err == nil
}

// broughtAlong are the packages of services that libraries link in for
// themselves: gRPC its own, such as reflection, channelz and health, and the
// client of a registry that registry's.
var broughtAlong = []string{"grpc.", "etcdserverpb.", "v3lockpb.", "v3electionpb."}

func brought(service string) bool {
	return slices.ContainsFunc(broughtAlong, func(prefix string) bool { return strings.HasPrefix(service, prefix) })
}

// states are gRPC's, from good to bad.
var states = []string{
	connectivity.Ready.String(), connectivity.Idle.String(), connectivity.Connecting.String(), connectivity.TransientFailure.String(),
}

// worse is the worse of two states. One that is not known, as that of a client
// that is being closed, is the worst; none is the best.
func worse(a, b string) string {
	rank := func(state string) int {
		if n := slices.Index(states, state); n >= 0 || state == "" {
			return n
		}
		return len(states)
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}
