package gate

import (
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// maxLinks is the largest number of calls that a request's span links to.
const maxLinks = 128

// requestTrace is the tracing of one request.
type requestTrace struct {
	span  trace.Span // records nothing if it is not sampled
	links int
}

// callTrace is the tracing of one call. Gate.mu guards it while the call is pending;
// afterwards it belongs to the caller's goroutine.
type callTrace struct {
	span  trace.SpanContext
	since []time.Time // by place: since when it waits in the queue, zero while in flight; nil if the call is not sampled
	waits []waited
}

// waited is a time for which some wants of a call have waited in the queue until they
// were sent together.
type waited struct {
	since, until time.Time
	wants, try   int
	request      *requestTrace // nil: they were not sent to Clerk
	err          error         // why not
}

// sampled reports whether the call is recorded.
func (c *callTrace) sampled() bool { return c != nil && c.since != nil }

// sent records that place i has left the queue for a try, in the request r. It
// reports whether it is the first place of the call in that request.
func (c *callTrace) sent(i, try int, r *requestTrace, now time.Time) (first bool) {
	since := c.since[i]
	if since.IsZero() {
		since = now
	}
	c.since[i] = time.Time{}
	if at := slices.IndexFunc(c.waits, func(w waited) bool { return w.request == r }); at >= 0 {
		same := &c.waits[at]
		same.wants++
		same.until = now
		same.try = max(same.try, try)
		if since.Before(same.since) {
			same.since = since
		}
		return false
	}
	c.waits = append(c.waits, waited{since: since, until: now, wants: 1, try: try, request: r})
	return true
}

// join records that place i of the call c has joined the request for a try.
func (t *requestTrace) join(c *callTrace, i, try int, now time.Time) {
	if t == nil || !c.sampled() || !c.sent(i, try, t, now) || t.links >= maxLinks {
		return
	}
	t.links++
	t.span.AddLink(trace.Link{SpanContext: c.span})
}
