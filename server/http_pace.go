package server

import (
	"net/http"
	"sync"
	"time"
)

// paceChunk is how many bytes of an answer a caller must take within the send timeout.
const paceChunk = 32 << 10

// pacedWriter is a ResponseWriter whose writes fail if the caller does not take
// paceChunk bytes within the timeout. Only endWithin may be called while another method
// runs.
type pacedWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration

	mu  sync.Mutex
	end time.Time // no write may take longer, if it is set; guarded by mu
}

func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *pacedWriter) Write(p []byte) (int, error) {
	written := 0
	for {
		n := min(len(p)-written, paceChunk)
		w.extend()
		n, err := w.ResponseWriter.Write(p[written : written+n])
		if written += n; err != nil || written == len(p) {
			return written, err
		}
	}
}

// Flush writes the buffered bytes. Connect calls it after each message of a stream.
func (w *pacedWriter) Flush() {
	w.extend()
	_ = w.control.Flush()
}

// extend sets the deadline of the next write.
func (w *pacedWriter) extend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	deadline := time.Now().Add(w.timeout)
	if !w.end.IsZero() && w.end.Before(deadline) {
		deadline = w.end
	}
	_ = w.control.SetWriteDeadline(deadline)
}

// endWithin ends a write that is under way, and fails later ones, after d.
func (w *pacedWriter) endWithin(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end = time.Now().Add(d)
	_ = w.control.SetWriteDeadline(w.end)
}
