// Command target is a server to attack: echo.v1.EchoService behind easyops or
// behind grpc-go alone. It counts what reaches its handlers and says so on an
// address of its own.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
)

var (
	bare    = flag.String("bare", "", "serve by grpc-go alone, on this address")
	netHTTP = flag.String("nethttp", "", "serve by net/http alone, on this address")
	figures = flag.String("figures", "", "address to say on what reached the handlers")
	raised  = flag.Bool("raised", false, "raise the limits, to see what they are good for")
	tight   = flag.Bool("tight", false, "serve one call at a time, to see that clients notice")
)

func main() {
	flag.Parse()
	e := &echo{}
	go func() { log.Fatal(http.ListenAndServe(*figures, e)) }()
	if *bare != "" {
		log.Fatal(serveBare(e, *bare))
	}
	if *netHTTP != "" {
		log.Fatal(serveHTTP(e, *netHTTP))
	}
	opts := []easyops.ServerOption{
		easyops.WithoutRegistration(),
		easyops.WithHTTP("/", http.HandlerFunc(e.page), auth.Access{Allow: auth.Everyone}),
	}
	if *raised {
		opts = append(opts, easyops.WithLimits(easyops.Limits{Resets: 1 << 30, OpenTimeout: time.Hour, HTTPHeader: time.Hour}),
			easyops.WithGRPC(
				grpc.MaxRecvMsgSize(1<<30), grpc.MaxHeaderListSize(64<<20), grpc.MaxConcurrentStreams(1<<20),
				grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 1, PermitWithoutStream: true})))
	}
	if *tight {
		opts = append(opts, easyops.WithLimits(easyops.Limits{Calls: 1}))
	}
	easyops.Main(echov1.StartEchoServiceServer(e, opts...))
}

func serveBare(e *echo, addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	echov1.RegisterEchoServiceServer(s, e)
	healthpb.RegisterHealthServer(s, health.NewServer())
	return s.Serve(l)
}

func serveHTTP(e *echo, addr string) error {
	s := &http.Server{Addr: addr, Handler: http.HandlerFunc(e.page), Protocols: new(http.Protocols)}
	s.Protocols.SetUnencryptedHTTP2(true)
	return s.ListenAndServe()
}

// echo is the service. Its handlers count themselves.
type echo struct {
	echov1.UnimplementedEchoServiceServer
	now, peak, total, pages atomic.Int64
}

func (e *echo) enter() (leave func()) {
	e.total.Add(1)
	n := e.now.Add(1)
	for p := e.peak.Load(); n > p && !e.peak.CompareAndSwap(p, n); p = e.peak.Load() {
	}
	return func() { e.now.Add(-1) }
}

// Echo takes its time where the message says so, whatever becomes of the call.
func (e *echo) Echo(_ context.Context, req *echov1.EchoRequest) (*echov1.EchoResponse, error) {
	defer e.enter()()
	if strings.HasPrefix(req.GetMessage(), "slow") {
		time.Sleep(20 * time.Millisecond)
	}
	return &echov1.EchoResponse{Message: req.GetMessage()}, nil
}

func (e *echo) Chat(stream grpc.BidiStreamingServer[echov1.ChatRequest, echov1.ChatResponse]) error {
	defer e.enter()()
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&echov1.ChatResponse{Message: req.GetMessage()}); err != nil {
			return err
		}
	}
}

// page is an HTTP page that reads all of its request. Its answers have headers
// that differ.
func (e *echo) page(w http.ResponseWriter, r *http.Request) {
	served := e.pages.Add(1)
	for i := range 8 {
		w.Header().Set(fmt.Sprintf("X-Served-%d", i), strconv.FormatInt(served, 10))
	}
	n, _ := io.Copy(io.Discard, r.Body)
	_ = json.NewEncoder(w).Encode(n)
}

// ServeHTTP says the figures; on the path /calm after memory was given back.
func (e *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/calm" {
		debug.FreeOSMemory()
		e.peak.Store(e.now.Load())
	}
	_ = json.NewEncoder(w).Encode(map[string]int64{
		"now": e.now.Load(), "peak": e.peak.Load(), "total": e.total.Load(), "pages": e.pages.Load(),
		"goroutines": int64(runtime.NumGoroutine()),
	})
}
