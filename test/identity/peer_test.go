package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
)

// way is one of the two ways in which gRPC calls enter a server.
type way struct {
	name  string
	viaH2 bool // net/http's HTTP/2
}

var ways = []way{{"native", false}, {"nethttp", true}}

// peer is a client of HTTP/2 that speaks gRPC with its own hands: what it sends
// of a request, and when, is for the test to say.
type peer struct {
	*http.Transport // that speaks HTTP/2 alone
	scheme, addr    string
	way             way
	pages           *http.Client
}

// newPeer connects to a server, by TLS where there is a configuration.
func newPeer(t testing.TB, addr string, w way, config *tls.Config) *peer {
	p := &peer{Transport: &http.Transport{Protocols: new(http.Protocols)}, scheme: "http", addr: addr, way: w}
	p.Protocols.SetHTTP2(config != nil)
	p.Protocols.SetUnencryptedHTTP2(config == nil)
	p.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		own := config.Clone()
		own.NextProtos = []string{"h2"}
		if w.viaH2 {
			own.NextProtos = []string{"h2", "http/1.1"}
		}
		c := tls.Client(conn, own)
		return c, c.HandshakeContext(ctx)
	}
	if config != nil {
		p.scheme = "https"
	}
	pages := &http.Transport{TLSClientConfig: config}
	p.pages = &http.Client{Transport: pages, Timeout: 20 * time.Second}
	t.Cleanup(p.CloseIdleConnections)
	t.Cleanup(pages.CloseIdleConnections)
	return p
}

// result is what a call was answered with.
type result struct {
	code    codes.Code
	message string
	caller  string // as the handler saw it
}

// call makes a call. With body it sends one empty message; without, nothing but
// the headers, and it does not end the request.
func (p *peer) call(t testing.TB, method string, header http.Header, body bool) result {
	t.Helper()
	r, err := p.try(t, 20*time.Second, method, header, body)
	if err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	return r
}

// try is call for what may go wrong.
func (p *peer) try(t testing.TB, timeout time.Duration, method string, header http.Header, body bool) (result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	read, write := io.Pipe()
	defer read.Close()
	if body {
		go func() {
			_, _ = write.Write(make([]byte, prefix)) // a message of length 0
			_ = write.Close()
		}()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.scheme+"://"+p.addr+"/"+method, read)
	if err != nil {
		return result{}, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	resp, err := p.RoundTrip(req)
	if err != nil {
		return result{}, err
	}
	defer resp.Body.Close()
	if viaH2 := resp.Trailer != nil; viaH2 != p.way.viaH2 { // net/http announces trailers, gRPC's own transport does not
		return result{}, errors.New("it went the wrong way")
	}
	reply, err := io.ReadAll(resp.Body)
	if err != nil {
		return result{}, err
	}
	return readResult(resp, reply)
}

// prefix is how many bytes are before a message.
const prefix = 5

func readResult(resp *http.Response, reply []byte) (r result, err error) {
	text := resp.Trailer.Get("Grpc-Status")
	r.message = resp.Trailer.Get("Grpc-Message")
	if text == "" {
		text, r.message = resp.Header.Get("Grpc-Status"), resp.Header.Get("Grpc-Message")
	}
	if _, err := fmt.Sscan(text, (*uint32)(&r.code)); err != nil {
		return r, fmt.Errorf("status %q of %v: %w", text, resp.Status, err)
	}
	if len(reply) > prefix+2 { // field 1 and its length
		r.caller = string(reply[prefix+2:])
	}
	return r, nil
}
