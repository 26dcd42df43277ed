package easyops

import (
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-easyops/easyops/runtime/metrics"
	"github.com/go-easyops/easyops/runtime/registry"
)

// check looks at everything that can be wrong before anything is begun.
func (s *Server) check() {
	c := s.cfg
	s.checkServices()
	s.checkOverrides()
	s.checkRoutes()
	s.checkProxy()
	s.checkIdentity()
	s.checkAddresses()
	s.checkTCP()
	s.checkNames()
	var err error
	if s.metrics, err = metrics.New(c.prometheus); err != nil {
		c.fault(fmt.Errorf("WithPrometheus: %w", err))
	}
	if !c.unlisted {
		s.registry, err = openRegistry(c)
		c.fault(err)
		if s.registry != nil {
			s.registry = &remembering{Registry: s.registry}
		}
	}
	s.checkEntries()
	s.checkStop()
	c.limits = c.limits.withDefaults()
}

// checkStop settles the times of a stop, which depend on each other.
func (s *Server) checkStop() {
	c := s.cfg
	if c.drainDelay == unset {
		c.drainDelay = s.defaultDrainDelay()
	}
	s.drainDelay.Store(int64(c.drainDelay))
	if c.checkDrainDelay(c.drainDelay) != nil {
		c.fault(fmt.Errorf("-easyops.drain-delay of %v leaves calls no time to end within -easyops.shutdown-timeout of %v: make it shorter, or the timeout longer", c.drainDelay, c.shutdownTimeout))
	}
}

func (s *Server) defaultDrainDelay() time.Duration {
	if s.trust == standalone {
		return 0
	}
	return min(defaultDrainDelay, s.cfg.shutdownTimeout/4)
}

func (s *Server) checkServices() {
	names := map[string]bool{}
	for _, b := range s.services {
		if err := b.check(); err != nil {
			s.cfg.fault(err)
			continue
		}
		if names[b.desc.ServiceName] {
			s.cfg.fault(fmt.Errorf("%s is given twice: one server serves a service once", b.desc.ServiceName))
		}
		names[b.desc.ServiceName] = true
		_, err := s.rulesOf(b.desc, false)
		s.cfg.fault(err)
	}
	if len(s.services) == 0 && len(s.cfg.routes) == 0 && len(s.cfg.tcp) == 0 && s.cfg.proxy == nil {
		s.cfg.fault(errors.New("there is nothing to serve: pass a service"))
	}
}

// check finds what would keep a service from being served.
func (b Service) check() error {
	if b.err != nil {
		return b.err
	}
	if b.desc == nil {
		return errors.New("a Service that no Bind function has made: pass what one returns")
	}
	name, want := b.desc.ServiceName, reflect.TypeOf(b.desc.HandlerType)
	switch {
	case name == healthService:
		return fmt.Errorf("the runtime serves %s itself: do not register it, and make readiness depend on WithCheck", name)
	case slices.Contains(reflectionServices, name):
		return fmt.Errorf("the runtime serves %s itself: do not register it", name)
	case want == nil || want.Kind() != reflect.Pointer || want.Elem().Kind() != reflect.Interface:
		return fmt.Errorf("%s: its ServiceDesc names no interface as HandlerType: use a generated one", name)
	case !reflect.TypeOf(b.impl).Implements(want.Elem()):
		return fmt.Errorf("%s: %T does not implement %v", name, b.impl, want.Elem())
	}
	return nil
}

var reflectionServices = []string{
	"grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
}

// checkEntries finds what no registry would list.
func (s *Server) checkEntries() {
	c := s.cfg
	entry := registry.Instance{
		ID: s.id, Service: "checked.before", Addr: "127.0.0.1:1", Kinds: []registry.Kind{registry.KindGRPC},
		Health: registry.Ready, Owner: c.owner,
	}
	if err := entry.Validate(); err != nil {
		c.faultEach("-easyops.owner or EASYOPS_OWNER (WithOwner)", err)
		entry.Owner = ""
	}
	entry.Tags = c.tags // only they can make it too long
	c.faultEach("-easyops.tags or EASYOPS_TAGS (WithTags)", entry.Validate())
	if c.advertise == "" {
		return
	}
	if err := registry.ValidAddr(c.advertise); err != nil {
		c.fault(fmt.Errorf("-easyops.advertise or EASYOPS_ADVERTISE: %w", err))
	}
}

// checkAddresses decides how far callers are trusted, which depends on who can
// connect.
func (s *Server) checkAddresses() {
	c := s.cfg
	exposed := ""
	if c.addr == "" && c.listener == nil && s.trust == authenticated {
		exposed = s.defaultAddr()
	}
	check := func(name, addr string) {
		switch local, err := onThisMachine(addr); {
		case err != nil:
			c.fault(fmt.Errorf("-%s%s or EASYOPS_%s: %q: %w", flagPrefix, name, strings.ToUpper(strings.ReplaceAll(name, "-", "_")), addr, err))
		case !local:
			exposed = addr
		}
	}
	if c.addr != "" && c.listener == nil {
		check("addr", c.addr)
	}
	if c.statusAddr != "" && !c.noStatus {
		check("status-addr", c.statusAddr)
		if _, port, _ := net.SplitHostPort(c.addr); c.addr == c.statusAddr && port != "0" {
			c.fault(fmt.Errorf("-easyops.addr and -easyops.status-addr are both %q: leave the latter out, the pages are on the gRPC port then", c.addr))
		}
	}
	if c.listener != nil && !isLocal(c.listener) {
		exposed = c.listener.Addr().String()
	}
	switch {
	case exposed == "":
	case s.trust == authenticated && !c.hasTLS():
		if !c.insecurePlaintext {
			c.fault(errPlaintext(exposed))
		}
		s.plaintext = true
	case s.trust == standalone:
		if !s.allForEveryone() {
			c.fault(errExposed(exposed))
		}
		s.trust = open
	}
}
