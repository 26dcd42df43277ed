package monitoring

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// TestFlat: however many callers there are, and methods that they invent, the
// series stay the same.
func TestFlat(t *testing.T) {
	s := startServer(t, easyops.WithAuthenticator(auth.AuthenticatorFunc(byToken)),
		easyops.WithInsecurePlaintext(), easyops.WithMetricsAccess("everyone"))
	conn, err := grpc.NewClient(s.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })

	invent(t, conn, 0, 100)
	before, few := series(t, s)
	invent(t, conn, 100, strangers)
	after, many := series(t, s)
	if after != before {
		t.Errorf("%d series after %d callers and methods, %d after 100", after, strangers, before)
	}
	if grown := many - few; grown > 4_000 { // numbers with more digits
		t.Errorf("the metrics have grown by %d bytes from %d", grown, few)
	}
	t.Logf("%d series of %d bytes after 100, %d of %d bytes after %d", before, few, after, many, strangers)

	if _, err := echov1.NewEchoServiceClient(conn).Echo(as(t, "one-more"), &echov1.EchoRequest{Message: "fault"}); status.Code(err) != codes.Internal {
		t.Fatal(err)
	}
	if another, _ := series(t, s); another <= after {
		t.Errorf("%d series after a code that was not there before, %d before", another, after)
	}
}

// invent calls, as one user after the other, a method that there is not, and every
// tenth one that there is too.
func invent(t *testing.T, conn *grpc.ClientConn, from, to int) {
	t.Helper()
	const workers = 8
	var group sync.WaitGroup
	client := echov1.NewEchoServiceClient(conn)
	for w := range workers {
		group.Go(func() {
			for i := from + w; i < to; i += workers {
				ctx := as(t, fmt.Sprintf("user-%d", i))
				if i%10 == 0 {
					if _, err := client.Echo(ctx, &echov1.EchoRequest{}); err != nil {
						t.Error(err)
						return
					}
				}
				method := fmt.Sprintf("/invented%d.Service/Method%d", i, i)
				if err := conn.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{}); status.Code(err) != codes.Unimplemented {
					t.Errorf("%s: %v", method, err)
					return
				}
			}
		})
	}
	group.Wait()
}

func as(t *testing.T, user string) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+user)
}

// byToken takes every token for the name of a user: signatures would take most of
// the test's time.
func byToken(_ context.Context, c auth.Credential) (auth.Identity, error) {
	return auth.Identity{User: &auth.Principal{ID: c.Token, Issuer: "test"}}, nil
}

// series returns how many series a server shows of what it counts itself, and of
// how many bytes.
func series(t *testing.T, s *easyops.Server) (n, size int) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + s.Addr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, err)
	}
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, "grpc_") || strings.HasPrefix(line, "easyops_") {
			n++
			size += len(line)
		}
	}
	return n, size
}
