package easyops

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// Limits bound what clients may use of a server. The zero value of each field
// stands for its default. The bounds of gRPC itself (message and header sizes,
// streams a connection, windows, keepalive) are options of grpc-go, for [WithGRPC];
// the defaults there are messages of 4 MiB received and 64 MiB sent, headers of
// 64 KiB, 250 streams a connection, and windows of 256 KiB for each.
type Limits struct {
	Connections      int           // open at once; 16,384
	ConnectionsPerIP int           // of them from one IP address; 4,096
	Calls            int           // unary calls in flight at once, others are RESOURCE_EXHAUSTED; 10,000
	Streams          int           // streams and requests to HTTP handlers in flight at once; 20,000
	Resets           int           // calls that a connection may cancel in 10 s before it is closed, as is counted when they end; 1,000; one that gives up within 5 ms counts a tenth. Of a storm by way of net/http about half is not seen
	RequestTimeout   time.Duration // for a unary call's request to arrive; 60 s, or 2 s while more than Calls wait
	OpenTimeout      time.Duration // for each step of opening a connection; 5 s. All steps together have 2 s more
	HTTPHeaderBytes  int           // of the headers of an HTTP request; 32 KiB
	HTTPHeader       time.Duration // for the headers of an HTTP request; 5 s
	HTTPRead         time.Duration // for an HTTP request as a whole, gRPC excepted; 10 s
	HTTPIdle         time.Duration // for an HTTP connection without requests; 60 s
}

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Connections:      orDefault(l.Connections, 16_384),
		ConnectionsPerIP: orDefault(l.ConnectionsPerIP, 4_096),
		Calls:            orDefault(l.Calls, 10_000),
		Streams:          orDefault(l.Streams, 20_000),
		Resets:           orDefault(l.Resets, 1_000),
		RequestTimeout:   orDefault(l.RequestTimeout, time.Minute),
		OpenTimeout:      orDefault(l.OpenTimeout, 5*time.Second),
		HTTPHeaderBytes:  orDefault(l.HTTPHeaderBytes, 32<<10),
		HTTPHeader:       orDefault(l.HTTPHeader, 5*time.Second),
		HTTPRead:         orDefault(l.HTTPRead, 10*time.Second),
		HTTPIdle:         orDefault(l.HTTPIdle, time.Minute),
	}
}

// streamWorkers is how many goroutines are kept for calls, so that their stacks
// need not grow anew for each. When all are busy a call gets its own.
const streamWorkers = 32

// transportDefaults are the options of grpc-go that users may change.
//
// Windows that grow by themselves are paid for with a PING and its answer every round trip, which
// with calls that are short is each of them: 6 allocations of 149 and a tenth of the instructions.
// So those of a connection are as large from the beginning as they could have become, and those of
// a stream, which bound what a client may leave unread in memory, are what a stream of short messages
// needs for 2.5 MB/s at 100 ms, or 250 MB/s at 1 ms. A message that is larger has room for itself.
func transportDefaults(l Limits) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.NumStreamWorkers(streamWorkers),
		grpc.MaxConcurrentStreams(250),
		grpc.StaticStreamWindowSize(256 << 10),
		grpc.StaticConnWindowSize(16 << 20),
		grpc.MaxHeaderListSize(64 << 10),
		grpc.MaxRecvMsgSize(4 << 20),
		grpc.MaxSendMsgSize(64 << 20),
		grpc.ConnectionTimeout(l.OpenTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 5 * time.Minute}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	}
}
