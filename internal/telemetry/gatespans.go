package telemetry

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/gate"
)

// maxLinks is the largest number of calls that a request's span links to.
const maxLinks = 128

// callTrace is the tracing of one call. The gate's lock guards it while the call is
// pending; afterwards it belongs to the caller's goroutine.
type callTrace struct {
	tracer trace.Tracer
	span   trace.SpanContext
	since  []time.Time // by want: when it entered the queue, zero while in flight; nil if the call is not sampled
	waits  []waitPeriod
}

// waitPeriod is a period in which some wants of a call waited in the queue, until they were
// sent together.
type waitPeriod struct {
	since, until time.Time
	wants, try   int
	request      *requestTrace // nil: they were not sent to Clerk
	err          error         // why not
}

// requestTrace is the tracing of one request. The gate's lock guards its links.
type requestTrace struct {
	span  trace.Span // records nothing if it is not sampled
	links int
}

// traceCall begins the tracing of a call. It returns nil if the call is not traced.
func (o *GateObserver) traceCall(ctx context.Context, wants int) *callTrace {
	if o.tracer == nil {
		return nil
	}
	span := trace.SpanContextFromContext(ctx)
	if !span.IsValid() {
		return nil
	}
	c := &callTrace{tracer: o.tracer, span: span}
	if span.IsSampled() {
		c.since = make([]time.Time, wants)
		now := time.Now()
		for i := range c.since {
			c.since[i] = now
		}
	}
	return c
}

// sampled reports whether the call is recorded.
func (c *callTrace) sampled() bool { return c.since != nil }

// Left implements gate.CallTrace.
func (c *callTrace) Left(want, try int, in gate.RequestTrace, now time.Time) {
	if !c.sampled() {
		return
	}
	r, _ := in.(*requestTrace) // nil: it was a lease
	if first := c.left(want, try, r, now); first && r != nil && r.links < maxLinks {
		r.links++
		r.span.AddLink(trace.Link{SpanContext: c.span})
	}
}

// left records that a want has left the queue for a try, in the request r. It reports
// whether it is the first want of the call in that request.
func (c *callTrace) left(want, try int, r *requestTrace, now time.Time) (first bool) {
	since := c.since[want]
	if since.IsZero() {
		since = now
	}
	c.since[want] = time.Time{}
	if at := slices.IndexFunc(c.waits, func(w waitPeriod) bool { return w.request == r }); at >= 0 {
		same := &c.waits[at]
		same.wants++
		same.until = now
		same.try = max(same.try, try)
		if since.Before(same.since) {
			same.since = since
		}
		return false
	}
	c.waits = append(c.waits, waitPeriod{since: since, until: now, wants: 1, try: try, request: r})
	return true
}

// Returned implements gate.CallTrace.
func (c *callTrace) Returned(want int, now time.Time) {
	if c.sampled() {
		c.since[want] = now
	}
}

// Done implements gate.CallTrace. It makes the spans of the call: one for each time that
// some of its wants waited for a request, and one for those that were given up while they
// waited.
func (c *callTrace) Done(ctx context.Context, results []gate.Result) {
	if !c.sampled() {
		return
	}
	left := waitPeriod{until: time.Now()}
	for i, r := range results {
		if since := c.since[i]; !since.IsZero() && givenUp(r.Err) {
			if left.wants++; left.wants == 1 || since.Before(left.since) {
				left.since = since
			}
			left.err = r.Err
		}
	}
	if left.wants > 0 {
		c.waits = append(c.waits, left)
	}
	for _, w := range c.waits {
		c.spanOf(ctx, w)
	}
}

// spanOf makes the span of a wait.
func (c *callTrace) spanOf(ctx context.Context, w waitPeriod) {
	options := []trace.SpanStartOption{trace.WithTimestamp(w.since), trace.WithAttributes(attribute.Int("clerkgate.wants", w.wants))}
	if w.request != nil {
		options = append(options, trace.WithAttributes(attribute.Int("clerkgate.try", w.try)))
		if span := w.request.span.SpanContext(); span.IsSampled() {
			options = append(options, trace.WithLinks(trace.Link{SpanContext: span}))
		}
	}
	_, span := c.tracer.Start(ctx, "gate.queue", options...)
	if w.err != nil {
		span.SetStatus(codes.Error, reason(w.err))
	}
	span.End(trace.WithTimestamp(w.until))
}

// traceRequest begins the span of a request. It has no parent, since the request may serve
// many calls; it links to those that are sampled. If all calls that are traced are not
// sampled, nor is the request. If there are none, as for a probe, the sampler decides.
func (o *GateObserver) traceRequest(s gate.SentRequest) *requestTrace {
	r := &requestTrace{}
	var links []trace.Link
	var unsampled *callTrace
	for _, w := range s.Calls {
		c := w.Call.(*callTrace)
		if !c.sampled() {
			unsampled = cmp.Or(c, unsampled)
		} else if c.left(w.Want, w.Try, r, s.At) && len(links) < maxLinks {
			links = append(links, trace.Link{SpanContext: c.span})
		}
	}
	if unsampled != nil && links == nil {
		r.span = trace.SpanFromContext(trace.ContextWithSpanContext(context.Background(), unsampled.span))
		return r
	}
	r.links = len(links)
	_, r.span = o.tracer.Start(context.Background(), "gate.batch",
		trace.WithTimestamp(s.At), trace.WithLinks(links...), trace.WithAttributes(
			attribute.String("clerkgate.kind", kindOf(s)),
			attribute.Int("clerkgate.wants", s.Wants),
			attribute.Int("clerkgate.try", s.Try),
		))
	return r
}

// kindOf returns the kind of a request in the words of its span.
func kindOf(s gate.SentRequest) string {
	switch {
	case s.Part:
		return "split"
	case s.Endpoint == "list", s.Endpoint == "count":
		return "call"
	}
	return s.Endpoint
}

// Context implements gate.RequestTrace. It returns ctx with the span of the request.
func (r *requestTrace) Context(ctx context.Context) context.Context {
	return trace.ContextWithSpan(ctx, r.span)
}

// end ends the span of a request that has ended with err.
func (r *requestTrace) end(err error) {
	if err != nil {
		r.span.SetStatus(codes.Error, reason(err))
	}
	r.span.End()
}

// givenUp reports whether err is not an answer of Clerk's.
func givenUp(err error) bool {
	var refused *gate.Error
	return errors.As(err, &refused) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// reason describes err without any data of users or callers, which its own text may
// have.
func reason(err error) string {
	var refused *gate.Error
	var answered *clerkapi.Error
	switch {
	case errors.As(err, &refused):
		return refused.Kind.Error()
	case errors.As(err, &answered):
		return answered.Kind.Error()
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "the caller gave up"
	}
	return "an error of another kind"
}
