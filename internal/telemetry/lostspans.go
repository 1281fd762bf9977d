package telemetry

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	logEvery = time.Minute // interval of log lines
	maxError = 300         // maximum bytes of an error in the log
)

// lostSpans counts the spans that were not exported, and logs them. It is safe for
// concurrent use, but log must be called once only.
type lostSpans struct {
	logger *slog.Logger
	signal chan struct{} // signalled when spans are lost

	mu       sync.Mutex
	total    int64 // guarded by mu
	unlogged int64 // guarded by mu
	why      error // error of the last failed export; guarded by mu
}

func newLostSpans(logger *slog.Logger) *lostSpans {
	return &lostSpans{logger: logger, signal: make(chan struct{}, 1)}
}

// add counts n lost spans. A nil why means that the queue was full.
func (l *lostSpans) add(n int, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total += int64(n)
	l.unlogged += int64(n)
	if why != nil {
		l.why = why
	}
	select {
	case l.signal <- struct{}{}:
	default:
	}
}

// count returns the number of lost spans.
func (l *lostSpans) count() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// log writes a log line as soon as spans are lost, and then at most one per minute, until
// ctx ends.
func (l *lostSpans) log(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.signal:
		}
		l.logNow()
		select {
		case <-ctx.Done():
			return
		case <-time.After(logEvery):
		}
	}
}

// logNow writes a log line about the spans lost since the last one, if any.
func (l *lostSpans) logNow() {
	l.mu.Lock()
	n, why := l.unlogged, "the queue is full"
	if l.why != nil {
		why = shorten(l.why.Error())
	}
	l.unlogged, l.why = 0, nil
	l.mu.Unlock()
	if n > 0 {
		l.logger.Warn("spans could not be sent", "error", why, "lost", n)
	}
}

// shorten limits text from outside in the log.
func shorten(s string) string {
	if len(s) > maxError {
		s = strings.ToValidUTF8(s[:maxError], "") + "…"
	}
	return s
}
