package easyops

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpchealth "google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/registry"
	"github.com/go-easyops/easyops/runtime/status"
)

const (
	healthService = "grpc.health.v1.Health"

	checkEvery   = 5 * time.Second // from the end of a round to the next
	checkTimeout = 3 * time.Second // for each check
)

// check is a readiness check of the user's.
type check struct {
	hook
	busy atomic.Bool
}

// registerHealth adds the gRPC health service, with every service of the user's.
func (s *Server) registerHealth(r grpc.ServiceRegistrar) {
	s.health = grpchealth.NewServer()
	healthpb.RegisterHealthServer(r, healthServer{s.health})
	s.setServing(healthpb.HealthCheckResponse_NOT_SERVING)
}

// healthServer is grpc-go's, which keeps the name that a watcher asks for. As
// everyone may ask, names are bounded.
type healthServer struct{ *grpchealth.Server }

func (h healthServer) Check(ctx context.Context, req *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if len(req.GetService()) > maxServiceName {
		return nil, errServiceName
	}
	return h.Server.Check(ctx, req)
}

func (h healthServer) Watch(req *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	if len(req.GetService()) > maxServiceName {
		return errServiceName
	}
	return h.Server.Watch(req, stream)
}

const maxServiceName = 255

var errServiceName = grpcstatus.Errorf(codes.InvalidArgument, "a service's name has %d characters at most", maxServiceName)

func (s *Server) setServing(status healthpb.HealthCheckResponse_ServingStatus) {
	s.health.SetServingStatus("", status)
	for _, b := range s.services {
		s.health.SetServingStatus(b.desc.ServiceName, status)
	}
}

// beginHealth makes the server ready, at once where there are no checks.
func (s *Server) beginHealth() {
	if len(s.cfg.checks) == 0 {
		s.setState(registry.Ready)
		return
	}
	s.background.Go(s.checkForEver)
}

// setState moves between the states of health. STOPPING is the last one.
func (s *Server) setState(to registry.Health) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := s.stateNow()
	if from == to || from == registry.Stopping {
		return
	}
	s.state.Store(to)
	s.log.Debug("health", "from", from, "to", to)
	switch to {
	case registry.Ready:
		s.setServing(healthpb.HealthCheckResponse_SERVING)
		select {
		case <-s.ready:
		default:
			close(s.ready)
		}
	case registry.Stopping:
		s.health.Shutdown()
		return // the stop tells the registry itself
	default:
		s.setServing(healthpb.HealthCheckResponse_NOT_SERVING)
	}
	s.publish()
}

// checkForEver runs the user's checks, round after round.
func (s *Server) checkForEver() {
	for {
		s.runChecks()
		select {
		case <-time.After(checkEvery):
		case <-s.stopping:
			return
		}
	}
}

func (s *Server) runChecks() {
	results := make([]error, len(s.cfg.checks))
	var round sync.WaitGroup
	for i, check := range s.cfg.checks {
		round.Go(func() { results[i] = s.runCheck(check) })
	}
	round.Wait()
	if s.life.Err() != nil {
		return // what they say now is of the stop
	}
	s.mu.Lock()
	before := s.checked
	s.checked = results
	s.mu.Unlock()
	state := registry.Ready
	for i, err := range results {
		if err != nil {
			state = registry.NotReady
		}
		if failed := before != nil && before[i] != nil; failed != (err != nil) {
			s.logCheck(s.cfg.checks[i].name, err)
		}
	}
	s.setState(state)
}

func (s *Server) logCheck(name string, err error) {
	if err != nil {
		s.log.Warn("check fails: the server is not ready", "check", name, "err", err)
		return
	}
	s.log.Info("check passes again", "check", name)
}

// runCheck runs a check for no longer than its timeout. One that ignores its
// context is not run again before it has returned.
func (s *Server) runCheck(check *check) error {
	if !check.busy.CompareAndSwap(false, true) {
		return errors.New("an earlier run has not returned yet: the check ignores its context")
	}
	ctx, cancel := context.WithTimeout(s.life, checkTimeout)
	defer cancel()
	result := make(chan error, 1)
	s.callbacks.start(func() {
		defer check.busy.Store(false)
		var err error
		if p := s.guard(ctx, "WithCheck "+check.name, func() { err = check.f(ctx) }); p != nil {
			err = p
		}
		result <- err
	}, "WithCheck "+check.name)
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return fmt.Errorf("no answer within %v", checkTimeout)
	}
}

var errNotChecked = errors.New("not checked yet")

// healthPage is what the status pages show of the health. It runs no check:
// everyone may ask.
func (s *Server) healthPage(context.Context) status.Health {
	s.mu.Lock()
	results, takenOut := s.checked, s.takenOut
	s.mu.Unlock()
	h := status.Health{State: string(s.stateNow()), TakenOut: takenOut}
	for i, check := range s.cfg.checks {
		err := errNotChecked
		if results != nil {
			err = results[i]
		}
		h.Checks = append(h.Checks, status.Check{Name: check.name, Err: err})
	}
	return h
}
