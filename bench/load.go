package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc/credentials"
	plaintext "google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/go-easyops/easyops/runtime/auth"
)

// job is what the load generator is asked for.
type job struct {
	workload
	Addr       string
	Duration   time.Duration
	Presenting bool // the callers present the token and the certificate that the load generator has
	Tolerant   bool // callers go on after errors
	Measured   bool // it is a turn, and not to warm up
}

// outcome is what callers have seen. Err is the first error, if any. The other
// figures are those of calls without. P999 is that of all jobs so far that were
// measured of the same workload and server: one alone has too few calls.
type outcome struct {
	Calls, Errors  int
	Elapsed        time.Duration
	P50, P99, P999 time.Duration
	Err            string
}

// load does the jobs that it reads, one a line, and answers each with its
// outcome. Connections stay open until the end.
func load(args []string) error {
	fs := flag.NewFlagSet("load", flag.ExitOnError)
	ca := fs.String("ca", "", "a file with the authority of the servers, for TLS")
	cert := fs.String("cert", "", "a file with the certificate and the key of the callers that present one, for TLS")
	token := fs.String("token", "", "a token that goes with each call of those that present one")
	tokens := fs.String("tokens", "", "a file with a token a line, of which each call has the next, instead")
	_ = fs.Parse(args) // it exits

	list, err := tokensOf(*token, *tokens)
	if err != nil {
		return err
	}
	callers, err := newCallers(*ca, *cert, list...)
	if err != nil {
		return err
	}
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

// tokensOf returns those of a file, or the one, or none.
func tokensOf(token, file string) ([]string, error) {
	if file == "" {
		return strings.Fields(token), nil
	}
	text, err := os.ReadFile(file)
	return strings.Fields(string(text)), err
}

// presenting returns the context of calls that carry a token, if there is one.
func presenting(token string) context.Context {
	return presentingIn(context.Background(), token)
}

func presentingIn(ctx context.Context, token string) context.Context {
	if token == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, auth.UserHeader, "Bearer "+token)
}
