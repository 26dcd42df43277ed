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

// patientBody is the body of a request that may take longer to come than others. The
// client has as long as any may take, and a second more for each KiB that has come, but
// never longer than at first, so that it cannot save up silence. What the handler needs
// to read does not count.
type patientBody struct {
	io.ReadCloser
	control *http.ResponseController
	limit   time.Duration

	mu   sync.Mutex    // a transport may read after the handler has returned
	left time.Duration // to wait for more
	late *time.Timer   // runs while a Read waits
	over bool          // there is no more, or the handler has returned: the deadline is not ours
}

// await gives a request such a body. It is the handler's to end.
func (r *response) await(req *http.Request, limit time.Duration) *patientBody {
	b := &patientBody{ReadCloser: req.Body, control: http.NewResponseController(r.ResponseWriter), limit: limit, left: limit}
	b.late = time.AfterFunc(limit, b.cut)
	b.late.Stop()
	b.until(time.Time{})
	r.body, req.Body = b, b
	return b
}

// Read implements [io.Reader].
func (b *patientBody) Read(p []byte) (int, error) {
	begun := b.wait()
	n, err := b.ReadCloser.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.late.Stop()
	b.left = min(b.left+time.Duration(n)*time.Second/minUpload-time.Since(begun), b.limit)
	b.over = b.over || err != nil
	return n, err
}

// wait is the time from which a Read waits.
func (b *patientBody) wait() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.over {
		b.late.Reset(b.left)
	}
	return time.Now()
}

// cut ends a Read that has waited too long. A deadline for each that is not waited
// for would take a good part of the time of an upload.
func (b *patientBody) cut() { b.leave(func() { b.until(time.Now()) }) }

// end gives what net/http reads after the handler a deadline.
func (b *patientBody) end() { b.leave(func() { b.until(time.Now().Add(b.left)) }) }

// until sets the deadline, which fails only where the connection is gone.
func (b *patientBody) until(deadline time.Time) { _ = b.control.SetReadDeadline(deadline) }

// leave leaves the deadline to others, where it is still ours, with last words. Those
// are under the lock: after end nothing of the answer may be used.
func (b *patientBody) leave(last func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.over {
		b.over = true
		b.late.Stop()
		last()
	}
}
