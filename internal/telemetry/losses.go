package telemetry

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	complainEvery = time.Minute // at most, of spans that are lost
	maxComplaint  = 300         // bytes of what is wrong
)

// losses counts the spans that are lost, and tells the log. It is made by
// newLosses. Its methods may be called at once, but tell once only.
type losses struct {
	logger *slog.Logger
	some   chan struct{} // there are losses to be told

	mu     sync.Mutex
	total  int64 // guarded by mu
	untold int64 // guarded by mu
	why    error // of the last that could not be sent; guarded by mu
}

func newLosses(logger *slog.Logger) *losses {
	return &losses{logger: logger, some: make(chan struct{}, 1)}
}

// add counts n lost spans. A why of nil is that there was no room for them.
func (l *losses) add(n int, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total += int64(n)
	l.untold += int64(n)
	if why != nil {
		l.why = why
	}
	select {
	case l.some <- struct{}{}:
	default:
	}
}

// count gives how many spans have been lost.
func (l *losses) count() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// tell writes a line of the log as soon as spans are lost, and another a minute
// later if there were more, until ctx ends.
func (l *losses) tell(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.some:
		}
		l.tellNow()
		select {
		case <-ctx.Done():
			return
		case <-time.After(complainEvery):
		}
	}
}

// tellNow writes a line of what has not been told, if there is any.
func (l *losses) tellNow() {
	l.mu.Lock()
	n, why := l.untold, "more of them end than the collector takes"
	if l.why != nil {
		why = shorten(l.why.Error())
	}
	l.untold, l.why = 0, nil
	l.mu.Unlock()
	if n > 0 {
		l.logger.Warn("spans could not be sent", "error", why, "lost", n)
	}
}

// shorten bounds what others may put into the log.
func shorten(s string) string {
	if len(s) > maxComplaint {
		s = strings.ToValidUTF8(s[:maxComplaint], "") + "…"
	}
	return s
}
