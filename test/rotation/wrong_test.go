package rotation

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// impl serves what the controls call.
type impl struct {
	echov1.UnimplementedEchoServiceServer
}

func (impl) Echo(_ context.Context, req *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	return &echov1.EchoResponse{Message: req.GetMessage()}, nil
}

func (impl) Chat(stream grpc.BidiStreamingServer[echov1.ChatRequest, echov1.ChatResponse]) error {
	for {
		req, err := stream.Recv()
		if err != nil {
			return nil
		}
		if err := stream.Send(&echov1.ChatResponse{Message: req.GetMessage()}); err != nil {
			return err
		}
	}
}

// small is a server in this process, and files of its and of a client.
type small struct {
	old, next      authority
	server, client issued
	addr           string
}

func newSmall(t *testing.T) *small {
	t.Helper()
	s := &small{old: newAuthority(t), next: newAuthority(t)}
	s.server = newIssued(t, s.old, "echo", "--service="+service, "--dns=localhost", "--ip=127.0.0.1")
	s.client = newIssued(t, s.old, "frontend")
	return s
}

// start starts the server, which follows its files unless the option says
// otherwise.
func (s *small) start(t *testing.T, opts ...easyops.ServerOption) {
	t.Helper()
	running, err := echov1.StartEchoServiceServer(impl{}, append(opts,
		easyops.WithFlags(nil), easyops.WithAddr("127.0.0.1:0"), easyops.WithRegistry("none"), easyops.WithAuth("mtls"),
		easyops.WithDrainDelay(0), easyops.WithStreamGrace(time.Second))...)
	if err != nil {
		t.Fatal(err)
	}
	s.addr = running.Addr().String()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := running.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
}

// options are those of the client.
func (s *small) options(more ...easyops.DialOption) []easyops.DialOption {
	return append([]easyops.DialOption{
		easyops.WithFlags(nil), s.client.option(), easyops.DialTarget(s.addr), easyops.DialServerID(service),
	}, more...)
}

// call connects anew and calls.
func (s *small) call(t *testing.T) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	return anew(ctx, alone(s.options()))
}

// awaitCall calls until the outcome is as wanted: an error with the text, or none
// where that is "".
func (s *small) awaitCall(t *testing.T, want string) {
	t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		err = s.call(t)
		if err == nil && want == "" || err != nil && want != "" && strings.Contains(err.Error(), want) {
			return
		}
	}
	t.Fatalf("a call's error is %v, want %q", err, want)
}

const (
	unknownToClient = "unknown authority" // the client refuses the server
	unknownToServer = "unauthenticated"   // the client has shown nothing that the server would take
)

// replacedAtOnce is a control: calls fail where an authority is replaced before
// the next one is known, by clients and by the server.
func replacedAtOnce(t *testing.T) {
	s := newSmall(t)
	s.start(t, s.server.option())
	s.awaitCall(t, "")
	s.next.issue(t, s.server)
	s.server.trust(t, s.next)
	s.awaitCall(t, unknownToClient)
	s.client.trust(t, s.next)
	s.awaitCall(t, unknownToServer)
	s.next.issue(t, s.client)
	s.awaitCall(t, "")
}

// reloadSwitchedOff is a control: a server that does not follow its files is
// noticed, though they rotate in the right order.
func reloadSwitchedOff(t *testing.T) {
	s := newSmall(t)
	certs, err := auth.LoadCertificates(auth.CertFiles{Cert: s.server.cert(), Key: s.server.key(), CA: s.server.ca()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.start(t, easyops.WithTLSConfig(certs.Server())) // nobody calls Refresh
	s.awaitCall(t, "")
	for _, f := range []issued{s.server, s.client} {
		f.trust(t, s.old, s.next)
		s.next.issue(t, f)
	}
	s.awaitCall(t, unknownToServer)
	s.client.trust(t, s.next)
	s.awaitCall(t, unknownToClient)
	certs.Refresh(time.Now()) // and that is all that was missing
	s.awaitCall(t, "")
}
