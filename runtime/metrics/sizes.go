package metrics

import (
	"context"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

// Names of the metrics of message sizes, gRFC A66's in their Prometheus
// spelling.
const (
	SentName     = "grpc_server_call_sent_total_compressed_message_size_bytes"
	ReceivedName = "grpc_server_call_rcvd_total_compressed_message_size_bytes"
)

// sizeBounds are the bucket bounds in bytes that gRFC A66 prescribes.
var sizeBounds = []float64{
	0, 1 << 10, 2 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10,
	1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20, 1 << 30, 4 << 30,
}

// sizes measures the messages of calls. Only a stats.Handler sees them, and one
// costs each call something, so it is there only where it is asked for.
type sizes struct {
	set            *Set
	sent, received *prometheus.HistogramVec
}

// callSizes is what one call has sent and received, in bytes.
type callSizes struct {
	method         string
	sent, received atomic.Int64
}

type callSizesKey struct{}

// Sizes adds metrics of message sizes, and returns the handler that grpc-go
// must be given for them. The methods that are measured are those that
// [Set.Method] has made; others count as "other". It may be called once.
func (s *Set) Sizes() (stats.Handler, error) {
	histogram := func(name, help string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: sizeBounds},
			[]string{"grpc_method", "grpc_status"})
	}
	h := &sizes{
		set:      s,
		sent:     histogram(SentName, "Compressed message bytes that a call has sent, without framing."),
		received: histogram(ReceivedName, "Compressed message bytes that a call has received, without framing."),
	}
	return h, s.register(h.sent, h.received)
}

// TagRPC implements [stats.Handler].
func (h *sizes) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, callSizesKey{}, &callSizes{method: h.set.label(info.FullMethodName)})
}

// HandleRPC implements [stats.Handler].
func (h *sizes) HandleRPC(ctx context.Context, event stats.RPCStats) {
	c, ok := ctx.Value(callSizesKey{}).(*callSizes)
	if !ok {
		return
	}
	switch e := event.(type) {
	case *stats.InPayload:
		c.received.Add(int64(e.CompressedLength))
	case *stats.OutPayload:
		c.sent.Add(int64(e.CompressedLength))
	case *stats.End:
		code := nameOf(status.Code(e.Error))
		h.sent.WithLabelValues(c.method, code).Observe(float64(c.sent.Load()))
		h.received.WithLabelValues(c.method, code).Observe(float64(c.received.Load()))
	}
}

// TagConn implements [stats.Handler].
func (*sizes) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements [stats.Handler].
func (*sizes) HandleConn(context.Context, stats.ConnStats) {}

// label is the value of grpc_method for a method that a caller names.
func (s *Set) label(name string) string {
	name = strings.TrimPrefix(name, "/")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.methods[name] == nil {
		return other
	}
	return name
}
