// Command lines serves a TCP service: it answers each line with the same one. It has
// no gRPC service, and is started, found, watched and stopped like servers that have.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/go-easyops/easyops/runtime/easyops"
	_ "github.com/go-easyops/easyops/runtime/registry/etcd" // etcd:// URLs
)

var (
	addr    = flag.String("addr", "", "`host:port` of the service, a free port where it is empty")
	proxies = flag.String("proxies", "", "`networks` of proxies that send PROXY headers, such as 10.0.0.0/8,fd00::/8")
)

func main() {
	flag.Parse()
	easyops.Main(start())
}

func start(opts ...easyops.ServerOption) (*easyops.Server, error) {
	var of []easyops.TCPOption
	if *proxies != "" {
		of = append(of, easyops.TCPProxyProtocol(strings.Split(*proxies, ",")...))
	}
	return easyops.Start(nil, append(opts, easyops.WithTCP("lines", *addr, answer, of...))...)
}

// idle is how long a client may say nothing, or leave unread what it is told.
const idle = 5 * time.Minute

// answer answers lines of up to 64 KiB until the client has no more, or the server
// drains; then the line that is being answered is the last.
func answer(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { last(conn) })
	defer stop()
	for in := bufio.NewScanner(conn); waitsFor(ctx, conn) && in.Scan(); {
		if _, err := fmt.Fprintf(conn, "%s\n", in.Bytes()); err != nil {
			return
		}
	}
	if ctx.Err() != nil {
		last(conn)
		fmt.Fprintln(conn, "the server is draining, connect again")
	}
}

// waitsFor gives the client its time for the next line, unless the server drains.
func waitsFor(ctx context.Context, conn net.Conn) bool {
	_ = conn.SetDeadline(time.Now().Add(idle))
	return ctx.Err() == nil // asked last, so that last is not overridden
}

// last ends the reading, and soon the writing too: a client that does not read would
// hold up the drain.
func last(conn net.Conn) {
	_ = conn.SetReadDeadline(time.Now())
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
}
