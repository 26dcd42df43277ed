package identity

import (
	"context"

	"google.golang.org/grpc"

	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/test/identity/matrix"
)

// impl answers every method with who has called it.
type impl struct {
	matrix.UnimplementedMatrixServer
}

type (
	who    = matrix.Who
	down   = grpc.ServerStreamingServer[who]
	up     = grpc.ClientStreamingServer[who, who]
	duplex = grpc.BidiStreamingServer[who, who]
)

func caller(ctx context.Context) *who {
	return &who{Caller: auth.CallerFrom(ctx).String()}
}

func (impl) AuthenticatedUnary(ctx context.Context, _ *who) (*who, error) { return caller(ctx), nil }

func (impl) AuthenticatedDown(_ *who, s down) error { return s.Send(caller(s.Context())) }

func (impl) AuthenticatedUp(s up) error { return s.SendAndClose(caller(s.Context())) }

func (impl) AuthenticatedDuplex(s duplex) error { return s.Send(caller(s.Context())) }

func (impl) UsersUnary(ctx context.Context, _ *who) (*who, error) { return caller(ctx), nil }

func (impl) UsersDown(_ *who, s down) error { return s.Send(caller(s.Context())) }

func (impl) UsersUp(s up) error { return s.SendAndClose(caller(s.Context())) }

func (impl) UsersDuplex(s duplex) error { return s.Send(caller(s.Context())) }

func (impl) GroupsUnary(ctx context.Context, _ *who) (*who, error) { return caller(ctx), nil }

func (impl) GroupsDown(_ *who, s down) error { return s.Send(caller(s.Context())) }

func (impl) GroupsUp(s up) error { return s.SendAndClose(caller(s.Context())) }

func (impl) GroupsDuplex(s duplex) error { return s.Send(caller(s.Context())) }

func (impl) ServicesUnary(ctx context.Context, _ *who) (*who, error) { return caller(ctx), nil }

func (impl) ServicesDown(_ *who, s down) error { return s.Send(caller(s.Context())) }

func (impl) ServicesUp(s up) error { return s.SendAndClose(caller(s.Context())) }

func (impl) ServicesDuplex(s duplex) error { return s.Send(caller(s.Context())) }

func (impl) NamedUnary(ctx context.Context, _ *who) (*who, error) { return caller(ctx), nil }

func (impl) NamedDown(_ *who, s down) error { return s.Send(caller(s.Context())) }

func (impl) NamedUp(s up) error { return s.SendAndClose(caller(s.Context())) }

func (impl) NamedDuplex(s duplex) error { return s.Send(caller(s.Context())) }

func (impl) EveryoneUnary(ctx context.Context, _ *who) (*who, error) { return caller(ctx), nil }

func (impl) EveryoneDown(_ *who, s down) error { return s.Send(caller(s.Context())) }

func (impl) EveryoneUp(s up) error { return s.SendAndClose(caller(s.Context())) }

func (impl) EveryoneDuplex(s duplex) error { return s.Send(caller(s.Context())) }

func (impl) SilentUnary(ctx context.Context, _ *who) (*who, error) { return caller(ctx), nil }

func (impl) SilentDown(_ *who, s down) error { return s.Send(caller(s.Context())) }

func (impl) SilentUp(s up) error { return s.SendAndClose(caller(s.Context())) }

func (impl) SilentDuplex(s duplex) error { return s.Send(caller(s.Context())) }
