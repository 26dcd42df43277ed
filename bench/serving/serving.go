// Package serving is what a server under measurement needs around it: it is told
// by flags how to serve, and asked by lines of JSON what that has cost. All that
// bench compares use it, so that they differ in nothing else.
//
// Such a server writes its address to stdout, a line of JSON, once connections
// are taken there. For each line of JSON that it reads from stdin then, it writes
// its [Usage]. It ends with its input. What is for people goes to stderr.
package serving

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"time"
)

// Told is what a server is told.
type Told struct {
	TLS      *tls.Config // nil: plaintext. It asks no caller for a certificate
	Mutual   *tls.Config // the same, or with CA one that takes callers of that authority alone
	Cert     string      // the file of the certificate and its key, or nothing
	CA       string      // a file of the authorities of callers, or nothing
	Auth     string      // how callers are authenticated, by those that do: none, jwks:FILE?issuer=…&audience=…, mtls
	Registry string      // a directory for those that are listed in one
	Quiet    bool        // no access log, of those that can leave it out
	TCP      string      // where those listen that have a TCP service
	Plain    string      // where the same listens without easyops
}

// Flags are those of a server.
type Flags struct {
	told            Told
	listen, profile string
}

// AddFlags adds the flags of a server to a set, which is to be parsed before
// anything is served.
func AddFlags(fs *flag.FlagSet) *Flags {
	f := &Flags{}
	fs.StringVar(&f.listen, "listen", "127.0.0.1:0", "where to listen")
	fs.StringVar(&f.told.Cert, "cert", "", "a file with certificate and key, for TLS")
	fs.StringVar(&f.told.CA, "ca", "", "a file with the authority of callers, which are then asked for certificates")
	fs.StringVar(&f.told.Auth, "auth", "", "how callers are authenticated, by the servers that do")
	fs.StringVar(&f.told.Registry, "registry", "", "a directory for the registry")
	fs.BoolVar(&f.told.Quiet, "quiet", false, "without an access log, of the peers that can leave it out")
	fs.StringVar(&f.told.TCP, "tcp", "", "where the TCP service listens, of the servers that have one")
	fs.StringVar(&f.told.Plain, "plain", "", "where the same service listens without easyops")
	fs.StringVar(&f.profile, "profile", "", "a file for a CPU profile")
	return f
}

// Told is what the flags say, without what is in files.
func (f *Flags) Told() Told { return f.told }

// Run parses args and serves until the input ends or serve does.
func Run(args []string, serve func(net.Listener, Told) error) error {
	fs := flag.NewFlagSet("serve", flag.ExitOnError)
	f := AddFlags(fs)
	_ = fs.Parse(args) // it exits
	return f.Serve(serve)
}

// Serve opens the listener, and serves on it until the input ends or serve does.
func (f *Flags) Serve(serve func(net.Listener, Told) error) error {
	lis, err := net.Listen("tcp", f.listen)
	if err != nil {
		return err
	}
	told := func() error { return nil } // who connects now waits until it is served
	return f.run(lis.Addr().String(), told, func(t Told) error { return serve(lis, t) })
}

// ServeAt is Serve for what opens its listener itself. Its address is written
// when it takes connections.
func (f *Flags) ServeAt(serve func(addr string, t Told) error) error {
	addr := f.listen
	if host, port, err := net.SplitHostPort(addr); err != nil {
		return err
	} else if port == "0" {
		if addr, err = FreeAddr(host); err != nil {
			return err
		}
	}
	return f.run(addr, func() error { return awaitListener(addr) }, func(t Told) error { return serve(addr, t) })
}

// FreeAddr returns an address of a host on which nobody listens now. Its port is
// none of those that the kernel gives to others meanwhile.
func FreeAddr(host string) (string, error) {
	for range 100 {
		addr := net.JoinHostPort(host, strconv.Itoa(12_000+rand.IntN(20_000)))
		if lis, err := net.Listen("tcp", addr); err == nil {
			return addr, lis.Close()
		}
	}
	return "", errors.New("no port of " + host + " is free")
}

func (f *Flags) run(addr string, ready func() error, serve func(Told) error) error {
	t, err := f.told.withTLS()
	if err != nil {
		return err
	}
	stop, err := StartProfile(f.profile)
	if err != nil {
		return err
	}
	defer stop()
	out := os.Stdout
	os.Stdout = os.Stderr // some log to it
	ended := make(chan error, 2)
	go func() {
		if err := serve(t); err != nil {
			ended <- err
			return
		}
		ended <- errors.New("the server has stopped")
	}()
	go func() {
		if err := ready(); err != nil {
			ended <- err
			return
		}
		ended <- answer(os.Stdin, out, addr)
	}()
	return <-ended
}

// listenTimeout is for servers that do more than to listen when they start.
const listenTimeout = 20 * time.Second

// awaitListener waits until something listens.
func awaitListener(addr string) error {
	for end := time.Now().Add(listenTimeout); ; time.Sleep(100 * time.Microsecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(end) {
			return err
		}
	}
}

func answer(in io.Reader, out io.Writer, addr string) error {
	requests, answers := json.NewDecoder(in), json.NewEncoder(out)
	if err := answers.Encode(addr); err != nil {
		return err
	}
	for {
		var request struct{}
		if err := requests.Decode(&request); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		u, err := OwnUsage()
		if err != nil {
			return err
		}
		if err := answers.Encode(u); err != nil {
			return err
		}
	}
}

// withTLS reads the files that it is told of.
func (t Told) withTLS() (Told, error) {
	if t.Cert == "" {
		return t, nil
	}
	cert, err := tls.LoadX509KeyPair(t.Cert, t.Cert)
	if err != nil {
		return t, err
	}
	t.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
	t.Mutual = t.TLS
	if t.CA == "" {
		return t, nil
	}
	authorities, err := os.ReadFile(t.CA)
	if err != nil {
		return t, err
	}
	t.Mutual = t.TLS.Clone()
	t.Mutual.ClientAuth, t.Mutual.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	if !t.Mutual.ClientCAs.AppendCertsFromPEM(authorities) {
		return t, fmt.Errorf("-ca: there is no certificate in %s", t.CA)
	}
	return t, nil
}
