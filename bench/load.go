package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	plaintext "google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/auth"
)

const (
	messageBytes      = 100 // of each request and response
	messagesPerStream = 100
	callersPerConn    = 16
)

// workload is what is called.
type workload struct {
	Stream      bool // Repeat instead of Echo
	Concurrency int  // calls in flight
}

func (w workload) String() string {
	if w.Stream {
		return fmt.Sprintf("stream of %d, concurrency %d", messagesPerStream, w.Concurrency)
	}
	return fmt.Sprintf("unary, concurrency %d", w.Concurrency)
}

// job is what the load generator is asked for.
type job struct {
	workload
	Addr     string
	Duration time.Duration
}

// outcome is what callers have seen. Err is the first error, if any.
type outcome struct {
	Calls    int
	Elapsed  time.Duration
	P50, P99 time.Duration
	Err      string
}

// load does the jobs that it reads, one a line, and answers each with its
// outcome. Connections stay open until the end.
func load(args []string) error {
	fs := flag.NewFlagSet("load", flag.ExitOnError)
	ca := fs.String("ca", "", "a file with the authority of the servers, for TLS")
	cert := fs.String("cert", "", "a file with the certificate and the key of the callers, for TLS")
	token := fs.String("token", "", "a token that goes with each call")
	_ = fs.Parse(args) // it exits

	creds, err := credentialsOf(*ca, *cert)
	if err != nil {
		return err
	}
	callers := callers{creds: creds, ctx: presenting(*token), conns: map[string][]*grpc.ClientConn{}}
	jobs, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var j job
		if err := jobs.Decode(&j); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		o, err := callers.do(j)
		if err != nil {
			return err
		}
		if err := answers.Encode(o); err != nil {
			return err
		}
	}
}

// credentialsOf returns what connections are made with: plaintext where there is
// no authority.
func credentialsOf(ca, cert string) (credentials.TransportCredentials, error) {
	if ca == "" {
		return plaintext.NewCredentials(), nil
	}
	authority, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	t := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: serverName, MinVersion: tls.VersionTLS13}
	t.RootCAs.AppendCertsFromPEM(authority) // without one, no server is taken
	if cert != "" {
		own, err := tls.LoadX509KeyPair(cert, cert)
		if err != nil {
			return nil, err
		}
		t.Certificates = []tls.Certificate{own}
	}
	return credentials.NewTLS(t), nil
}

// presenting returns the context of calls that carry a token, if there is one.
func presenting(token string) context.Context {
	if token == "" {
		return context.Background()
	}
	return metadata.AppendToOutgoingContext(context.Background(), auth.UserHeader, "Bearer "+token)
}

// callers keeps the connections to each server.
type callers struct {
	creds credentials.TransportCredentials
	ctx   context.Context //nolint:containedctx // all calls have it
	conns map[string][]*grpc.ClientConn
}

// clients returns a client for each connection that a job needs.
func (c callers) clients(j job) ([]echov1.EchoServiceClient, error) {
	want := (j.Concurrency + callersPerConn - 1) / callersPerConn
	for len(c.conns[j.Addr]) < want {
		conn, err := grpc.NewClient("passthrough:///"+j.Addr, grpc.WithTransportCredentials(c.creds))
		if err != nil {
			return nil, err
		}
		c.conns[j.Addr] = append(c.conns[j.Addr], conn)
	}
	clients := make([]echov1.EchoServiceClient, want)
	for i := range clients {
		clients[i] = echov1.NewEchoServiceClient(c.conns[j.Addr][i])
	}
	return clients, nil
}

func (c callers) do(j job) (outcome, error) {
	clients, err := c.clients(j)
	if err != nil {
		return outcome{}, err
	}
	latencies := make([][]time.Duration, j.Concurrency)
	errs := make([]error, j.Concurrency)
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range j.Concurrency {
		wg.Go(func() {
			latencies[i], errs[i] = callUntil(begin.Add(j.Duration), callOf(c.ctx, clients[i%len(clients)], j.Stream))
		})
	}
	wg.Wait()
	o := outcome{Elapsed: time.Since(begin)}
	all := slices.Concat(latencies...)
	slices.Sort(all)
	o.Calls, o.P50, o.P99 = len(all), quantile(all, 0.5), quantile(all, 0.99)
	if err := errors.Join(errs...); err != nil {
		o.Err, _, _ = strings.Cut(err.Error(), "\n")
	}
	return o, nil
}

// callUntil calls until a time has come, at least once, and returns how long
// each call took.
func callUntil(end time.Time, call func() error) (took []time.Duration, err error) {
	took = make([]time.Duration, 0, 16<<10)
	for now := time.Now(); ; {
		if err := call(); err != nil {
			return took, err
		}
		after := time.Now()
		took = append(took, after.Sub(now))
		if !after.Before(end) {
			return took, nil
		}
		now = after
	}
}

// callOf returns a function that makes one call.
func callOf(ctx context.Context, client echov1.EchoServiceClient, stream bool) func() error {
	message := strings.Repeat("x", messageBytes)
	if !stream {
		req := &echov1.EchoRequest{Message: message}
		return func() error {
			_, err := client.Echo(ctx, req)
			return err
		}
	}
	req := &echov1.RepeatRequest{Message: message, Count: messagesPerStream}
	return func() error {
		s, err := client.Repeat(ctx, req)
		for err == nil {
			_, err = s.Recv()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
}
