// Kratos is a kratos application with its middleware for recovery, metrics,
// access log and identity.
//
// It follows https://github.com/go-kratos/kratos-layout without tracing, and
// https://go-kratos.dev/docs/component/middleware/ (recovery, metrics, logging
// and auth), with the metrics of OpenTelemetry that this version has.
package main

import (
	"context"
	"net"
	"os"

	"github.com/go-kratos/kratos/v2"
	"github.com/go-kratos/kratos/v2/log"
	"github.com/go-kratos/kratos/v2/middleware"
	"github.com/go-kratos/kratos/v2/middleware/auth/jwt"
	"github.com/go-kratos/kratos/v2/middleware/logging"
	"github.com/go-kratos/kratos/v2/middleware/metrics"
	"github.com/go-kratos/kratos/v2/middleware/recovery"
	"github.com/go-kratos/kratos/v2/transport/grpc"
	"github.com/go-kratos/kratos/v2/transport/http"
	jwtv5 "github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	googlegrpc "google.golang.org/grpc"

	"github.com/go-easyops/easyops/bench/echo"
	echov1 "github.com/go-easyops/easyops/bench/echo/gen"
	"github.com/go-easyops/easyops/bench/peers/internal/peer"
	"github.com/go-easyops/easyops/bench/peers/internal/token"
	"github.com/go-easyops/easyops/bench/serving"
)

var description = serving.Description{
	Name:   "kratos",
	Module: "github.com/go-kratos/kratos/v2",
	Features: map[string]string{
		serving.Recovery:  "middleware/recovery, of unary calls",
		serving.Metrics:   "middleware/metrics with OpenTelemetry's exporter for Prometheus, of unary calls",
		serving.AccessLog: "middleware/logging, all unary calls to stderr",
		serving.Identity:  "middleware/auth/jwt, golang-jwt for each call",
		serving.Limits:    "a second for each unary call, its default",
	},
	Security: []string{serving.Plaintext, serving.TLS, serving.Token, serving.Mutual},
	Quiet:    true,
	Notes: "its middleware for streams runs for each message: it is off, but for identity, which runs once for each stream; " +
		"issuer and audience of tokens are not compared",
}

func main() { peer.Main(description, serve) }

func serve(lis net.Listener, told serving.Told) error {
	logger := log.With(log.NewStdLogger(os.Stderr),
		"ts", log.DefaultTimestamp, "caller", log.DefaultCaller, "service.name", "echo", "service.version", "bench")
	measured, err := measure()
	if err != nil {
		return err
	}
	chain := []middleware.Middleware{recovery.Recovery(), measured}
	if !told.Quiet {
		chain = append(chain, logging.Server(logger))
	}
	opts := []grpc.ServerOption{grpc.Listener(lis), grpc.TLSConfig(told.Mutual)}
	if told.Auth != "" {
		v, err := token.New(told.Auth)
		if err != nil {
			return err
		}
		known := jwt.Server(v.Key, jwt.WithSigningMethod(jwtv5.SigningMethodEdDSA),
			jwt.WithClaims(func() jwtv5.Claims { return &jwtv5.RegisteredClaims{} }))
		chain = append(chain, known)
		opts = append(opts, grpc.StreamInterceptor(once(known)))
	}
	s := grpc.NewServer(append(opts, grpc.Middleware(chain...))...)
	echov1.RegisterEchoServiceServer(s, echo.Server{})
	pages := http.NewServer(http.Address("127.0.0.1:0"))
	pages.Handle("/metrics", promhttp.Handler())
	return kratos.New(kratos.Name("echo"), kratos.Logger(logger), kratos.Server(pages, s)).Run()
}

// once has middleware run around a stream. What is given to StreamMiddleware runs
// for each message, and would verify a token each time.
func once(m middleware.Middleware) googlegrpc.StreamServerInterceptor {
	return func(srv any, stream googlegrpc.ServerStream, _ *googlegrpc.StreamServerInfo, handler googlegrpc.StreamHandler) error {
		_, err := m(func(context.Context, any) (any, error) { return nil, handler(srv, stream) })(stream.Context(), nil)
		return err
	}
}

func measure() (middleware.Middleware, error) {
	exporter, err := prometheus.New()
	if err != nil {
		return nil, err
	}
	meter := metric.NewMeterProvider(metric.WithReader(exporter),
		metric.WithView(metrics.DefaultSecondsHistogramView(metrics.DefaultServerSecondsHistogramName))).Meter("echo")
	requests, err := metrics.DefaultRequestsCounter(meter, metrics.DefaultServerRequestsCounterName)
	if err != nil {
		return nil, err
	}
	seconds, err := metrics.DefaultSecondsHistogram(meter, metrics.DefaultServerSecondsHistogramName)
	return metrics.Server(metrics.WithRequests(requests), metrics.WithSeconds(seconds)), err
}
