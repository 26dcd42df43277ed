package easyops

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/metrics"
)

// response is the answer of a handler of the user's. It notices whether it has
// begun, and breaks off when the identity that it is for expires. It has the
// methods that handlers look for by type assertions; [http.ResponseController]
// unwraps it.
type response struct {
	http.ResponseWriter
	call    *call
	counted *metrics.HTTPMethod
	begun   bool
	status  int          // of the answer, once it has begun
	code    codes.Code   // that the call is counted with
	err     error        // where it is not OK
	body    *patientBody // of the request, where it is a proxy's and has one
}

// fail notes with which code the call is counted, and why.
func (r *response) fail(code codes.Code, err error) { r.code, r.err = code, err }

// answer notes that the answer has begun.
func (r *response) answer(status int) {
	if !r.begun {
		r.begun, r.status = true, status
	}
}

// answered is the status that the caller has got, 0 for none.
func (r *response) answered() int {
	if r.status == 0 && r.code == codes.OK { // net/http sends it when the handler has returned
		return http.StatusOK
	}
	return r.status
}

// httpStatus is the error of a handler that answers with a status.
type httpStatus int

func (s httpStatus) Error() string {
	return fmt.Sprintf("the answer was %d %s", int(s), http.StatusText(int(s)))
}

func (r *response) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// expired is the error of what is not sent, because the identity has expired.
func (r *response) expired() error {
	if r.call.ended.Load() == statusExpired {
		return statusExpired.Err()
	}
	return nil
}

func (r *response) WriteHeader(code int) {
	if r.expired() != nil {
		return
	}
	if (code >= http.StatusOK || code == http.StatusSwitchingProtocols) && !r.begun {
		r.answer(code)
		if c := codeOfHTTP(code); c != codes.OK {
			r.fail(c, httpStatus(code))
		}
	}
	r.ResponseWriter.WriteHeader(code)
}

func (r *response) Write(b []byte) (int, error) {
	if err := r.expired(); err != nil {
		return 0, err
	}
	r.answer(http.StatusOK)
	return r.ResponseWriter.Write(b)
}

// ReadFrom lets net/http have the whole at once where nothing expires.
func (r *response) ReadFrom(from io.Reader) (int64, error) {
	if r.call.expiry != nil {
		return io.Copy(struct{ io.Writer }{r}, from)
	}
	begun, status := r.begun, r.status
	r.answer(http.StatusOK)
	n, err := io.Copy(r.ResponseWriter, from)
	if n == 0 { // net/http has sent nothing
		r.begun, r.status = begun, status
	}
	return n, err
}

// begin notes that the answer is sent in parts.
func (r *response) begin() {
	r.answer(http.StatusOK)
	r.call.flushed.Store(true)
}

// Flush implements [http.Flusher].
func (r *response) Flush() { _ = r.FlushError() }

// FlushError is what [http.ResponseController] looks for.
func (r *response) FlushError() error {
	if err := r.expired(); err != nil {
		return err
	}
	r.begin()
	return http.NewResponseController(r.ResponseWriter).Flush()
}

// Hijack gives a connection that is closed when the identity expires.
func (r *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if err := r.expired(); err != nil {
		return nil, nil, err
	}
	conn, rw, err := http.NewResponseController(r.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if r.body != nil {
		r.body.leave(func() {}) // the connection is the handler's
	}
	r.answer(http.StatusSwitchingProtocols)
	r.begin()
	if expires := r.call.caller.Expires(); !expires.IsZero() {
		conn = closeAt(conn, expires)
	}
	return conn, rw, nil
}

func closeAt(conn net.Conn, expires time.Time) net.Conn {
	return expiringConn{conn, time.AfterFunc(time.Until(expires), func() { _ = conn.Close() })}
}

// expiringConn is a connection that a handler has taken over. It may outlive the
// handler, and not the timer.
type expiringConn struct {
	net.Conn
	expiry *time.Timer
}

func (c expiringConn) Close() error {
	c.expiry.Stop()
	return c.Conn.Close()
}

// CloseWrite tells the client that nothing more comes, and leaves reading open, as
// proxies do that pass on what both sides say. Connections that net/http gives away
// have it.
func (c expiringConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// close ends the answer of a handler whose context the runtime has ended as
// what it may be, a part.
func (r *response) close() {
	switch {
	case r.call.ended.CompareAndSwap(nil, byHandler):
	case r.begun:
		r.fail(r.call.ended.Load().Code(), r.call.ended.Load().Err())
		panic(http.ErrAbortHandler)
	case r.call.ended.Load() == statusExpired:
		r.fail(codes.Unauthenticated, statusExpired.Err())
		r.status = http.StatusUnauthorized
		refuseHTTP(r.ResponseWriter, statusExpired.Err())
	default:
		http.Error(r, "the server is draining: try again", http.StatusServiceUnavailable)
	}
}

// recoverHTTP answers in place of a handler that panicked. Where an answer has
// begun it is broken off, so that nobody takes it for whole.
// http.ErrAbortHandler is meant for net/http.
func (s *Server) recoverHTTP(w *response) {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		if w.code == codes.OK { // the handler's own doing
			w.fail(codes.Aborted, err)
		}
		panic(p)
	}
	err := s.recovered(w.call, "http", w.call.method.name, p)
	w.fail(codes.Internal, err)
	if w.begun {
		panic(http.ErrAbortHandler)
	}
	w.status = http.StatusInternalServerError
	http.Error(w.ResponseWriter, grpcstatus.Convert(err).Message(), http.StatusInternalServerError)
}

// codeOfHTTP returns the code of gRPC that says the same as a status of HTTP, as
// google.rpc.Code has it.
func codeOfHTTP(status int) codes.Code {
	switch {
	case status < http.StatusBadRequest:
		return codes.OK
	case status == http.StatusUnauthorized:
		return codes.Unauthenticated
	case status == http.StatusForbidden:
		return codes.PermissionDenied
	case status == http.StatusNotFound:
		return codes.NotFound
	case status == http.StatusConflict:
		return codes.Aborted
	case status == http.StatusTooManyRequests:
		return codes.ResourceExhausted
	case status == http.StatusMethodNotAllowed, status == http.StatusNotImplemented:
		return codes.Unimplemented
	case status == http.StatusServiceUnavailable:
		return codes.Unavailable
	case status == http.StatusGatewayTimeout:
		return codes.DeadlineExceeded
	case status < http.StatusInternalServerError:
		return codes.InvalidArgument
	case status == http.StatusInternalServerError:
		return codes.Internal
	}
	return codes.Unknown
}
