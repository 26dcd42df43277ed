package easyops

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// minUpload is how many bytes a second the body of a request must bring that a proxy
// passes on, so that it may be long, and not slow for ever.
const minUpload = 1 << 10

// patient serves requests whose body may take longer to come than others: as long as
// any may take, and a second more for each KiB that has come. What the handler needs
// to read it does not count.
func patient(h http.Handler, limit time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			body := &patientBody{ReadCloser: r.Body, control: http.NewResponseController(w), left: limit}
			body.until(time.Time{})
			defer body.end()
			r.Body = body
		}
		h.ServeHTTP(w, r)
	})
}

// patientBody is the body of a request, with a deadline for each read.
type patientBody struct {
	io.ReadCloser
	control *http.ResponseController

	mu   sync.Mutex    // a transport may read after the handler has returned
	left time.Duration // to wait for more
	over bool          // there is no more, or the handler has returned: the deadline is not ours
}

// Read implements [io.Reader].
func (b *patientBody) Read(p []byte) (int, error) {
	begun := time.Now()
	b.mu.Lock()
	if !b.over {
		b.until(begun.Add(b.left))
	}
	b.mu.Unlock()
	n, err := b.ReadCloser.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return n, err
	}
	b.left += time.Duration(n)*time.Second/minUpload - time.Since(begun)
	if b.over = err != nil; !b.over {
		b.until(time.Time{})
	}
	return n, err
}

// until sets the deadline, which fails only where the connection is gone.
func (b *patientBody) until(deadline time.Time) { _ = b.control.SetReadDeadline(deadline) }

// end gives what net/http reads after the handler a deadline.
func (b *patientBody) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.over {
		b.over = true
		b.until(time.Now().Add(b.left))
	}
}
