// Middleware is grpc-go with the middleware that is usual with it, from
// go-grpc-middleware: metrics, access log, identity and recovery, in the order of
// its example.
//
// It follows examples/server of https://github.com/grpc-ecosystem/go-grpc-middleware
// without tracing, exemplars and labels from the context.
package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/auth"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/logging"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/bench/echo"
	echov1 "github.com/go-easyops/easyops/bench/echo/gen"
	"github.com/go-easyops/easyops/bench/peers/internal/peer"
	"github.com/go-easyops/easyops/bench/peers/internal/token"
	"github.com/go-easyops/easyops/bench/serving"
)

var description = serving.Description{
	Name:   "middleware",
	Module: "github.com/grpc-ecosystem/go-grpc-middleware/v2",
	Features: map[string]string{
		serving.Recovery:  "interceptors/recovery",
		serving.Metrics:   "providers/prometheus, with a histogram of durations",
		serving.AccessLog: "interceptors/logging by slog, the start and the end of each call, all to stderr",
		serving.Identity:  "interceptors/auth, golang-jwt for each call",
	},
	Security: []string{serving.Plaintext, serving.TLS, serving.Token, serving.Mutual},
	Quiet:    true,
}

func main() { peer.Main(description, serve) }

func serve(lis net.Listener, told serving.Told) error {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("service", "gRPC/server", "component", "bench")
	metrics := grpcprom.NewServerMetrics(grpcprom.WithServerHandlingTimeHistogram(
		grpcprom.WithHistogramBuckets([]float64{0.001, 0.01, 0.1, 0.3, 0.6, 1, 3, 6, 9, 20, 30, 60, 90, 120}),
	))
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics)
	opts, err := options(told, logger, metrics)
	if err != nil {
		return err
	}
	s := grpc.NewServer(opts...)
	echov1.RegisterEchoServiceServer(s, echo.Server{})
	metrics.InitializeMetrics(s)
	if err := serveMetrics(registry, logger); err != nil {
		return err
	}
	return s.Serve(lis)
}

func options(told serving.Told, logger *slog.Logger, metrics *grpcprom.ServerMetrics) (opts []grpc.ServerOption, err error) {
	recovered := recovery.WithRecoveryHandler(func(p any) error {
		logger.Error("recovered from panic", "panic", p, "stack", debug.Stack())
		return status.Errorf(codes.Internal, "%s", p)
	})
	unary := []grpc.UnaryServerInterceptor{metrics.UnaryServerInterceptor()}
	stream := []grpc.StreamServerInterceptor{metrics.StreamServerInterceptor()}
	if !told.Quiet {
		unary = append(unary, logging.UnaryServerInterceptor(adapt(logger)))
		stream = append(stream, logging.StreamServerInterceptor(adapt(logger)))
	}
	if told.Auth != "" {
		v, err := token.New(told.Auth)
		if err != nil {
			return nil, err
		}
		unary = append(unary, auth.UnaryServerInterceptor(authenticate(v)))
		stream = append(stream, auth.StreamServerInterceptor(authenticate(v)))
	}
	unary = append(unary, recovery.UnaryServerInterceptor(recovered))
	stream = append(stream, recovery.StreamServerInterceptor(recovered))
	if told.Mutual != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(told.Mutual)))
	}
	return append(opts, grpc.ChainUnaryInterceptor(unary...), grpc.ChainStreamInterceptor(stream...)), nil
}

func adapt(l *slog.Logger) logging.Logger {
	return logging.LoggerFunc(func(ctx context.Context, level logging.Level, msg string, fields ...any) {
		l.Log(ctx, slog.Level(level), msg, fields...) //nolint:sloglint // the interceptor's own, constant messages
	})
}

// callerKey is that of the caller in the context.
type callerKey struct{}

func authenticate(v *token.Verifier) auth.AuthFunc {
	return func(ctx context.Context) (context.Context, error) {
		bearer, err := auth.AuthFromMD(ctx, "bearer")
		if err != nil {
			return nil, err
		}
		claims, err := v.Verify(bearer)
		if err != nil {
			return nil, status.Error(codes.Unauthenticated, "invalid auth token")
		}
		return context.WithValue(ctx, callerKey{}, claims), nil
	}
}

// serveMetrics serves them on a port of its own, as gRPC has the other.
func serveMetrics(registry *prometheus.Registry, logger *slog.Logger) error {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { logger.Error("metrics", "err", s.Serve(lis)) }()
	return nil
}
