package easyops

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

var errForwarded = errors.New("the call was passed on by a proxy for another machine, or does not tell for whom: a service behind a proxy needs -easyops.auth")

// refusedForwarded is what the caller learns of it. HTTP handlers refuse such
// requests by 403.
var refusedForwarded = status.New(codes.PermissionDenied, "permission denied: this server takes calls of its own machine only, "+
	"and a proxy has passed this one on: a service behind a proxy needs -easyops.auth")

// notForwarded refuses calls that a proxy on this machine has passed on for others:
// standalone, being on this machine is all that callers have to prove. What a proxy
// tells for callers on this machine too passes, so that an edge can be tried there.
// One that tells nothing cannot be told from a client. For requests to HTTP handlers
// see fromElsewhere.
func notForwarded(c *call) error {
	if c.extra != nil && c.request != nil {
		return nil
	}
	md := incoming(c.Context)
	told := false
	for _, name := range []string{"x-forwarded-for", "x-real-ip"} {
		if !allLoopback(md[name]) {
			return errForwarded
		}
		told = told || len(md[name]) > 0
	}
	if len(md["forwarded"]) > 0 || len(md["via"]) > 0 && !told {
		return errForwarded
	}
	return nil
}

// incoming returns the metadata of a call, to look at.
func incoming(ctx context.Context) metadata.MD {
	md, ok := ctx.Value(incomingKey).(metadata.MD)
	if !ok {
		md, _ = metadata.FromIncomingContext(ctx)
	}
	return md
}

// allLoopback tells whether each address of lists is one of this machine.
func allLoopback(lists []string) bool {
	for _, list := range lists {
		for text := range strings.SplitSeq(list, ",") {
			ip, err := netip.ParseAddr(strings.TrimSpace(text))
			if err != nil || !ip.Unmap().IsLoopback() {
				return false
			}
		}
	}
	return true
}
