package easyops

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // the server can read it
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

// frame is a message with its prefix.
func frame(flags byte, body string) string {
	return string([]byte{flags, 0, 0, 0, byte(len(body))}) + body
}

// callRaw sends what no client of gRPC would, and returns the code that comes back.
func (r *rig) callRaw(method, encoding, body string) string {
	r.t.Helper()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	scheme := "http"
	tr := &http.Transport{
		Protocols:   &protocols,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return r.lis.DialContext(ctx) },
	}
	if r.way.viaH2 {
		scheme, tr.TLSClientConfig = "https", clientTLS()
		protocols.SetHTTP2(true)
	}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, scheme+"://localhost/"+method, bytes.NewReader([]byte(body)))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}}
	if encoding != "" {
		req.Header.Set("Grpc-Encoding", encoding)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		r.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.Header.Get("Grpc-Status") + resp.Trailer.Get("Grpc-Status")
}

// What cannot be received is the fault of who sent it, and nobody is woken for it.
// The sender is told what gRPC says.
func TestUndecodableIsTheCallersFault(t *testing.T) {
	for _, c := range []struct {
		name, encoding, body string
		sent                 codes.Code
		counted              string
	}{
		{"no message of protobuf", "", frame(0, "\xff\xff\xff"), codes.Internal, "INVALID_ARGUMENT"},
		{"compressed by nothing", "", frame(1, "x"), codes.Internal, "INVALID_ARGUMENT"},
		{"not compressed", "gzip", frame(1, "not gzip"), codes.Internal, "INVALID_ARGUMENT"},
		{"no such flags", "", frame(7, "x"), codes.Internal, "INVALID_ARGUMENT"},
		{"cut off", "", frame(0, "xyz")[:6], codes.Internal, "INVALID_ARGUMENT"},
		{"too large", "", "\x00\x7f\xff\xff\xff", codes.ResourceExhausted, "RESOURCE_EXHAUSTED"},
		{"well", "", frame(0, ""), codes.OK, "OK"},
	} {
		for _, method := range []string{unaryMethod, downMethod, upMethod, duplexMethod, "grpc.health.v1.Health/Check"} {
			t.Run(c.name+", "+method, func(t *testing.T) {
				eachWay(t, func(t *testing.T, w way) {
					r := newRig(t, w, &funcs{
						up: func(s up) error {
							for {
								if _, err := s.Recv(); errors.Is(err, io.EOF) {
									return s.SendAndClose(&testpb.StreamingInputCallResponse{})
								} else if err != nil {
									return err
								}
							}
						},
						duplex: func(s duplex) error {
							for {
								if _, err := s.Recv(); errors.Is(err, io.EOF) {
									return nil
								} else if err != nil {
									return fmt.Errorf("the handler says: %w", err)
								}
							}
						},
					})
					if got, want := r.callRaw(method, c.encoding, c.body), fmt.Sprint(int(c.sent)); got != want {
						t.Errorf("the caller is told %s, want %s", got, want)
					}
					r.await("the call is counted", func() bool {
						return r.sample("grpc_server_call_duration_seconds", "grpc_method", method, "grpc_status", c.counted) == 1
					})
					for _, line := range r.log.lines("call") {
						if line.text("level") == "ERROR" {
							t.Errorf("%v", line)
						}
					}
					if len(r.recent.faults.last) > 0 {
						t.Errorf("a fault of the server's own: %v", r.recent.faults.last)
					}
				})
			})
		}
	}
}

// What the handler itself calls INTERNAL stays so, and so does what is no error of
// a message.
func TestNotReceived(t *testing.T) {
	for _, err := range []error{io.EOF, errors.New("x"), status.Error(codes.Canceled, "x"), status.Error(codes.Unimplemented, "x")} {
		if got := notReceived(err); got != err { //nolint:errorlint // it must be the same
			t.Errorf("%v became %v", err, got)
		}
	}
	if got := notReceived(status.Error(codes.Internal, "grpc: no")); status.Code(got) != codes.InvalidArgument || status.Convert(got).Message() != "grpc: no" {
		t.Error(got)
	}
	var _ grpc.ServerStream = (*streamCall)(nil)
}

// Errors of drivers name the URL with its password: neither the log nor the page
// repeats it.
func TestErrorsAreRedacted(t *testing.T) {
	const canary = "canary-77ab"
	eachWay(t, func(t *testing.T, w way) {
		r := newRig(t, w, &funcs{unary: failing})
		long := strings.Repeat("x", 20_000)
		client := r.client()
		for _, text := range []string{
			"dial postgres://root:" + canary + "@db/orders: no route", "open db?password=" + canary + "&x=1",
			"postgres://root:" + canary + "@" + strings.Repeat("h", 2000) + "/", strings.Repeat("y", 250) + " postgres://root:" + canary + "@db " + long, long + " token=" + canary,
		} {
			_, err := client.UnaryCall(t.Context(), askFor(codes.Internal, text))
			wantCode(t, err, codes.Internal)
		}
		shown := fmt.Sprint(r.log.lines("call"), r.recent.all())
		if strings.Contains(shown, canary) || !strings.Contains(shown, "postgres://REDACTED@db/orders: no route") {
			t.Error(shown)
		}
		wantEqual(t, "errors", len(r.recent.all()), 5)
	})
}
