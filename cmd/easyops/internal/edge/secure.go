package edge

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// secureError is that of a service with TLS, to which the edge speaks plaintext.
type secureError struct{ service, addr string }

func (e *secureError) Error() string {
	return fmt.Sprintf("%s at %s speaks TLS, and the edge plaintext: set -easyops.tls-ca to the authority of the services", e.service, e.addr)
}

// wantsTLS tells from the answer to a request in plaintext, or from what came in place
// of one, that a port speaks TLS. Such a request was read by nobody.
func wantsTLS(resp *http.Response, err error) bool {
	if err != nil { // an alert of TLS came
		return strings.Contains(err.Error(), `malformed HTTP response "\x15\x03`)
	}
	if resp.StatusCode != http.StatusBadRequest || resp.ProtoMajor != 1 || resp.ProtoMinor != 0 {
		return false // servers in Go say it by HTTP/1.0
	}
	head := make([]byte, 64)
	n, err := io.ReadFull(resp.Body, head)
	if head = head[:n]; err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return false // the client is told of it as well
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), resp.Body), resp.Body}
	return bytes.HasPrefix(head, []byte("this port speaks TLS")) || bytes.HasPrefix(head, []byte("Client sent an HTTP request to an HTTPS server"))
}
