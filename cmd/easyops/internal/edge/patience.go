package edge

import (
	"net/http"
	"sync"
	"time"
)

// patience is how long a client may need for what it is sent of an answer at a time,
// 32 KiB at most, by HTTP/1.1 also to make room for it in the buffers of the system.
const patience = time.Minute

// patientWriter is the writer of an answer that is broken off where the client does not
// take it: else it would keep its place among all requests for as long as it likes.
// Silence of the service is another matter.
type patientWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	limit   time.Duration // of a write
	late    *time.Timer   // runs while a write waits

	mu      sync.Mutex
	due     time.Time // until when it may wait
	waiting bool
}

// newPatientWriter returns one that is for the handler of w to end.
func newPatientWriter(w http.ResponseWriter, limit time.Duration) *patientWriter {
	p := &patientWriter{ResponseWriter: w, control: http.NewResponseController(w), limit: limit}
	p.late = time.AfterFunc(limit, p.cut)
	p.late.Stop()
	return p
}

// Unwrap is what [http.ResponseController] looks for.
func (p *patientWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// Write implements [http.ResponseWriter].
func (p *patientWriter) Write(b []byte) (int, error) {
	p.begin()
	defer p.end()
	return p.ResponseWriter.Write(b)
}

// FlushError is what [http.ResponseController] looks for.
func (p *patientWriter) FlushError() error {
	p.begin()
	defer p.end()
	return p.control.Flush()
}

func (p *patientWriter) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting, p.due = true, time.Now().Add(p.limit)
	p.late.Reset(p.limit)
}

// end is also the last word: after it nothing of the answer is used.
func (p *patientWriter) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = false
	p.late.Stop()
}

// cut ends a write that has waited too long. A deadline for each would take a good part of
// the time of a download.
func (p *patientWriter) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting && !time.Now().Before(p.due) {
		_ = p.control.SetWriteDeadline(time.Now()) // fails only where the connection is gone
	}
}
