// Package routes reads routes files: which hosts and paths, gRPC services and
// ports of an edge lead to which services of the registry, and for whom.
package routes

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-easyops/easyops/runtime/auth"
)

// DefaultConnectTimeout is how long a request, a call or a connection waits for an
// instance that can be reached, where the route does not say.
const DefaultConnectTimeout = 5 * time.Second

// DefaultMaxMessage is the length of the longest message of gRPC that passes, in
// bytes, where the route does not say. It is grpc-go's.
const DefaultMaxMessage = 4 << 20

// DefaultMaxConnections is how many connections a TCP route may have at a time, where
// it does not say.
const DefaultMaxConnections = 16384

// File is a routes file that was found to be sound. It must not be changed.
type File struct {
	Name   string // as it was named to Load or Parse
	Listen string // host:port of HTTPS and gRPC; "" where the file does not say
	Admin  string // host:port of the status pages; "" where the file does not say
	TLS    []Certificate
	HTTP   []HTTPRoute // in the order of the file, as are the others
	GRPC   []GRPCRoute
	TCP    []TCPRoute
}

// Certificate names the files of one, PEM. Names that are not absolute are
// relative to the directory of the routes file.
type Certificate struct {
	Line      int // of the routes file
	Cert, Key string
}

// HTTPRoute leads requests to a service of kind http. Of those that fit, the one
// with the most specific host has it, and of these the one with the longest path.
type HTTPRoute struct {
	Line           int
	Host           string // in small letters: "shop.example.com"; "*.example.com" is all below it, of any depth; "" is every host
	Path           string // "/" or like "/greet/": it fits "/greet" and whatever begins with "/greet/"
	Service        string
	Access         auth.Access
	ConnectTimeout time.Duration
}

// GRPCRoute leads calls to the services of their names. Of those that fit, the one
// with the most specific host has it, and of these the one with the longest name.
type GRPCRoute struct {
	Line           int
	Host           string // as of HTTPRoute, of the call's :authority
	Service        string // "echo.v1.EchoService"; "echo.v1.*" is every service whose name begins with "echo.v1."; "*" is every one
	Access         auth.Access
	MaxMessage     int // bytes, in either direction, without compression
	ConnectTimeout time.Duration
}

// TCPRoute leads the connections to a port to a service of kind tcp.
type TCPRoute struct {
	Line           int
	Listen         string // host:port
	Service        string
	ProxyProtocol  int            // the version that the service is told the client's address by: 1 or 2; 0 for none
	AcceptProxy    []netip.Prefix // peers that must begin with a PROXY header; of all others nothing is parsed
	MaxConnections int            // at a time; 0 where the file does not say
	MaxPerClient   int            // of them, of one client; 0 where the file does not say: see [TCPRoute.Bounds]
	IdleTimeout    time.Duration  // without a byte in either direction; 0 for no end
	ConnectTimeout time.Duration
}

// Bounds returns how many connections the route may have at a time, at most as many as
// there is room for, and how many of them one client: a quarter where the file does not
// say.
func (r *TCPRoute) Bounds(room int) (all, perClient int) {
	all = min(cmp.Or(r.MaxConnections, DefaultMaxConnections), room)
	return all, min(cmp.Or(r.MaxPerClient, max(1, all/4)), all)
}

// Name returns the route as people and metrics know it, such as
// "shop.example.com/greet/" or "/".
func (r *HTTPRoute) Name() string { return r.Host + r.Path }

// Name returns the route as people and metrics know it, such as
// "echo.v1.EchoService" or "shop.example.com/echo.v1.*".
func (r *GRPCRoute) Name() string {
	if r.Host == "" {
		return r.Service
	}
	return r.Host + "/" + r.Service
}

// Name returns the route as people and metrics know it: its port, such as ":5432".
func (r *TCPRoute) Name() string { return r.Listen }

// MaxMessage returns the length of the longest message that any route lets pass,
// in bytes.
func (f *File) MaxMessage() int {
	most := DefaultMaxMessage
	for _, r := range f.GRPC {
		most = max(most, r.MaxMessage)
	}
	return most
}

// maxFile bounds what is read of a routes file.
const maxFile = 4 << 20 // bytes

// Load reads a routes file. Its error has a line for each fault, with its place,
// the key and what to do about it.
func Load(path string) (*File, error) {
	text, err := Read(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, text)
}

// Read returns the text of a routes file, for Parse. What is no regular file, and may
// never end, is not read.
func Read(path string) ([]byte, error) {
	info, err := os.Stat(path) // before it is opened: that of a pipe waits for a writer
	if err != nil {
		return nil, fmt.Errorf("routes file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("routes file %s: it is no regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("routes file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("routes file: %w", err)
	case len(text) > maxFile:
		return nil, fmt.Errorf("routes file %s: it is too long: at most %d bytes", path, maxFile)
	}
	return text, nil
}

// Parse reads the text of a routes file. The name is for errors, and what its
// directory is relative names of files are relative to. See [Load].
func Parse(name string, text []byte) (*File, error) {
	p := &parser{name: name, dir: filepath.Dir(name)}
	f := p.file(text)
	if err := p.err(); err != nil {
		return nil, err
	}
	return f, nil
}

// MatchHost reports whether the pattern of a route's host fits a host, which is in
// small letters and without a port. It also returns how specific the pattern is:
// of two that fit, the greater one wins.
func MatchHost(pattern, host string) (specific int, ok bool) {
	switch below, wild := strings.CutPrefix(pattern, "*"); {
	case pattern == "":
		return 0, true
	case wild:
		return len(below), len(host) > len(below) && strings.HasSuffix(host, below)
	}
	return 1 << 16, pattern == host
}

// MatchPath reports whether the path of a route fits that of a request.
func MatchPath(pattern, path string) bool {
	return strings.HasPrefix(path, pattern) || path == strings.TrimSuffix(pattern, "/")
}

// MatchService reports whether the service of a gRPC route fits a service's name.
func MatchService(pattern, service string) bool {
	if below, wild := strings.CutSuffix(pattern, "*"); wild {
		return strings.HasPrefix(service, below) && len(service) > len(below)
	}
	return pattern == service
}
