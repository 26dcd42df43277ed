package easyops

import (
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// Limits bound what clients may use of a server. The zero value of each field
// stands for its default. The bounds of gRPC itself (message and header sizes,
// streams a connection, keepalive) are options of grpc-go, for [WithGRPC]; the
// defaults there are messages of 4 MiB received and 64 MiB sent, headers of 64 KiB,
// and 250 streams a connection. Its options of windows win over StreamWindow for
// connections of gRPC alone.
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

	// StreamWindow is how many bytes a stream of gRPC, or a request by HTTP/2, may send before
	// the server has taken them: 1 MiB, or what is given, from 64 KiB to 2 GiB. One stream uploads
	// that much in a round trip, and a client can have the server keep it for each stream that is
	// not read: 250 MiB for the 250 of a connection. Where it is negative, the windows of gRPC
	// grow by themselves, to 16 MiB, as is grpc-go's default, and those of net/http, which cannot,
	// have 1 MiB.
	StreamWindow int
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
		StreamWindow:     l.window(),
	}
}

// streamWindow is the default of Limits.StreamWindow.
const streamWindow = 1 << 20

// leastWindow is what HTTP/2 begins with (RFC 9113, section 6.9.2). grpc-go takes no less.
const leastWindow = 1<<16 - 1

func (l Limits) window() int {
	switch w := l.StreamWindow; {
	case w < 0:
		return -1
	case w == 0:
		return streamWindow
	default:
		return min(max(w, leastWindow), math.MaxInt32)
	}
}

// streamWorkers is how many goroutines are kept for calls, so that their stacks
// need not grow anew for each. When all are busy a call gets its own.
const streamWorkers = 32

// streamsPerConn is how many streams a connection may have.
const streamsPerConn = 250

// connWindow is the window of a connection, of which all its streams can have theirs at a time:
// net/http counts against it what handlers have not read, and streams that nobody reads must
// stop no others.
func connWindow(stream int) int { return int(min(streamsPerConn*int64(stream), math.MaxInt32)) }

// windows are those of connections that grpc-go serves itself, where they do not grow.
//
// Windows that grow by themselves are paid for with a PING and its answer every round trip, which
// with calls that are short is each of them: 6 allocations of 149 and a tenth of the instructions.
// So they are fixed. That of a stream, which bounds what a client may leave unread in memory, is
// that of grpc-java and of net/http: one stream then uploads 100 MB/s where a round trip takes
// 10 ms, and 10 MB/s where it takes 100 ms (three quarters with messages of 32 KiB), and many
// as much as the line has.
func windows(stream int) []grpc.ServerOption {
	if stream < 0 {
		return nil
	}
	return []grpc.ServerOption{
		grpc.StaticStreamWindowSize(int32(stream)),           // #nosec G115 -- withDefaults bounds it
		grpc.StaticConnWindowSize(int32(connWindow(stream))), // #nosec G115 -- so does connWindow
	}
}

// transportDefaults are the options of grpc-go that users may change.
func transportDefaults(l Limits) []grpc.ServerOption {
	return append(windows(l.StreamWindow),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.MaxConcurrentStreams(streamsPerConn),
		grpc.MaxHeaderListSize(64<<10),
		grpc.MaxRecvMsgSize(4<<20),
		grpc.MaxSendMsgSize(64<<20),
		grpc.ConnectionTimeout(l.OpenTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 5 * time.Minute}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)
}
