// Command adapter is the server under test of connectrpc.com/conformance: it
// reads from standard input what is to be served, writes to standard output
// where it serves it, and serves until SIGTERM.
package main

import (
	"crypto/tls"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip" // the cases with compression need it
	"google.golang.org/protobuf/proto"

	"github.com/go-easyops/easyops/runtime/easyops"
	conformancev1 "github.com/go-easyops/easyops/test/conformance/gen"
)

func main() {
	by := flag.String("by", "easyops", "what serves: easyops, grpc for grpc-go alone, or http for grpc-go behind net/http")
	flag.Parse()
	serve, ok := map[string]serveFunc{"easyops": serveEasyops, "grpc": serveGRPC, "http": serveHTTP}[*by]
	if !ok {
		fmt.Fprintf(os.Stderr, "-by=%s: there is easyops, grpc and http\n", *by)
		os.Exit(2)
	}
	if err := run(serve); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// loopback is where the runner's client looks, on any port that is free.
const loopback = "127.0.0.1:0"

// settings are what the runner asks of a server.
type settings struct {
	maxMessage int         // in bytes, received
	tls        *tls.Config // nil: plaintext
}

// serveFunc serves until the process is told to end, and calls listening with
// the address as soon as there is one.
type serveFunc func(s settings, listening func(net.Addr) error) error

// run serves what the runner asks for.
func run(serve serveFunc) error {
	request := &conformancev1.ServerCompatRequest{}
	if err := read(os.Stdin, request); err != nil {
		return fmt.Errorf("the runner's request: %w", err)
	}
	s := settings{maxMessage: int(request.GetMessageReceiveLimit())}
	if s.maxMessage == 0 {
		s.maxMessage = 4 << 20
	}
	if request.GetUseTls() {
		creds := request.GetServerCreds()
		cert, err := tls.X509KeyPair(creds.GetCert(), creds.GetKey())
		if err != nil {
			return fmt.Errorf("the runner's certificate: %w", err)
		}
		s.tls = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	}
	return serve(s, func(addr net.Addr) error {
		at := addr.(*net.TCPAddr)
		return write(os.Stdout, &conformancev1.ServerCompatResponse{
			Host: at.IP.String(), Port: uint32(at.Port), PemCert: request.GetServerCreds().GetCert(),
		})
	})
}

func serveGRPC(s settings, listening func(net.Addr) error) error {
	listener, err := listen(listening)
	if err != nil {
		return err
	}
	var options []grpc.ServerOption
	if s.tls != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(s.tls)))
	}
	return newServer(s, options...).Serve(listener)
}

func serveHTTP(s settings, listening func(net.Addr) error) error {
	listener, err := listen(listening)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: newServer(s), TLSConfig: s.tls, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	if s.tls != nil {
		return server.ServeTLS(listener, "", "")
	}
	return server.Serve(listener)
}

func newServer(s settings, options ...grpc.ServerOption) *grpc.Server {
	server := grpc.NewServer(append(options, grpc.MaxRecvMsgSize(s.maxMessage))...)
	conformancev1.RegisterConformanceServiceServer(server, &service{})
	return server
}

func listen(listening func(net.Addr) error) (net.Listener, error) {
	listener, err := net.Listen("tcp", loopback)
	if err != nil {
		return nil, err
	}
	return listener, listening(listener.Addr())
}

func serveEasyops(s settings, listening func(net.Addr) error) error {
	options := []easyops.ServerOption{
		easyops.WithAddr(loopback),
		easyops.WithoutRegistration(),
		easyops.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))),
		easyops.WithGRPC(grpc.MaxRecvMsgSize(s.maxMessage)),
	}
	if s.tls != nil {
		options = append(options, easyops.WithTLSConfig(s.tls))
	}
	server, err := conformancev1.StartConformanceServiceServer(&service{}, options...)
	if err == nil {
		err = listening(server.Addr())
	}
	easyops.Main(server, err)
	return nil
}

// read reads a message behind its length of four bytes.
func read(r io.Reader, m proto.Message) error {
	var length uint32
	if err := binary.Read(r, binary.BigEndian, &length); err != nil {
		return err
	}
	encoded := make([]byte, length)
	if _, err := io.ReadFull(r, encoded); err != nil {
		return err
	}
	return proto.Unmarshal(encoded, m)
}

// write writes a message behind its length.
func write(w io.Writer, m proto.Message) error {
	encoded, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(encoded))), encoded...))
	return err
}
