// Connect is connect-go over net/http with what its project has for operation:
// recovery, metrics by otelconnect, and authn. It has no access log.
//
// It follows https://connectrpc.com/docs/go/getting-started, .../observability
// and the README of https://github.com/connectrpc/authn-go. There is no tracing.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"connectrpc.com/authn"
	"connectrpc.com/connect"
	"connectrpc.com/otelconnect"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	echov1 "github.com/go-easyops/easyops/bench/peers/connect/gen"
	"github.com/go-easyops/easyops/bench/peers/connect/gen/echov1connect"
	"github.com/go-easyops/easyops/bench/peers/internal/peer"
	"github.com/go-easyops/easyops/bench/peers/internal/token"
	"github.com/go-easyops/easyops/bench/serving"
)

var description = serving.Description{
	Name:   "connect",
	Module: "connectrpc.com/connect",
	Features: map[string]string{
		serving.Recovery: "connect.WithRecover",
		serving.Metrics:  "otelconnect with OpenTelemetry's exporter for Prometheus, without tracing",
		serving.Identity: "authn, golang-jwt for each call",
	},
	Security: []string{serving.Plaintext, serving.TLS, serving.Token, serving.Mutual},
	Notes:    "called by gRPC; it answers Connect and gRPC-Web, too",
}

func main() { peer.Main(description, serve) }

func serve(lis net.Listener, told serving.Told) error {
	interceptor, err := metrics()
	if err != nil {
		return err
	}
	recovered := connect.WithRecover(func(_ context.Context, s connect.Spec, _ http.Header, p any) error {
		slog.Error("panic", "procedure", s.Procedure, "err", p) //nolint:sloglint // as the example of WithRecover
		return connect.NewError(connect.CodeInternal, errors.New("internal error"))
	})
	path, handler := echov1connect.NewEchoServiceHandler(echo{}, connect.WithInterceptors(interceptor), recovered)
	if handler, err = authenticated(handler, told.Auth); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle(path, handler)
	mux.Handle("/metrics", promhttp.Handler())
	return listen(mux, lis, told)
}

func metrics() (connect.Interceptor, error) {
	exporter, err := prometheus.New()
	if err != nil {
		return nil, err
	}
	provider := metric.NewMeterProvider(metric.WithReader(exporter))
	return otelconnect.NewInterceptor(otelconnect.WithMeterProvider(provider), otelconnect.WithoutTracing())
}

// authenticated lets those through whose token is valid, if that is asked for.
func authenticated(h http.Handler, spec string) (http.Handler, error) {
	if spec == "" {
		return h, nil
	}
	v, err := token.New(spec)
	if err != nil {
		return nil, err
	}
	return authn.NewMiddleware(func(_ context.Context, r *http.Request) (any, error) {
		bearer, ok := authn.BearerToken(r)
		if !ok {
			return nil, authn.Errorf("there is no token")
		}
		claims, err := v.Verify(bearer)
		if err != nil {
			return nil, authn.Errorf("invalid token")
		}
		return claims, nil
	}).Wrap(h), nil
}

func listen(h http.Handler, lis net.Listener, told serving.Told) error {
	s := &http.Server{Handler: h, TLSConfig: told.Mutual, Protocols: new(http.Protocols), ReadHeaderTimeout: 5 * time.Second}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true)
	s.Protocols.SetUnencryptedHTTP2(told.Mutual == nil)
	if told.Mutual != nil {
		return s.ServeTLS(lis, "", "")
	}
	return s.Serve(lis)
}

// echo is what all peers serve.
type echo struct {
	echov1connect.UnimplementedEchoServiceHandler
}

func (echo) Echo(_ context.Context, req *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	return &echov1.EchoResponse{Message: req.GetMessage()}, nil
}

func (echo) Repeat(_ context.Context, req *echov1.RepeatRequest, stream *connect.ServerStream[echov1.RepeatResponse]) error {
	for range req.GetCount() {
		if err := stream.Send(&echov1.RepeatResponse{Message: req.GetMessage()}); err != nil {
			return err
		}
	}
	return nil
}

func (echo) Chat(_ context.Context, stream *connect.BidiStream[echov1.ChatRequest, echov1.ChatResponse]) error {
	for {
		req, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if err := stream.Send(&echov1.ChatResponse{Message: req.GetMessage()}); err != nil {
			return err
		}
	}
}
