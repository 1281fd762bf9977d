package gate

import (
	"cmp"
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/clerkgate/clerkgate/clerkapi"
)

// trace begins the tracing of a call with n places. It returns nil if the call is not
// traced.
func (g *Gate) trace(ctx context.Context, n int) *callTrace {
	if g.cfg.Tracer == nil {
		return nil
	}
	c := &callTrace{span: trace.SpanContextFromContext(ctx)}
	if !c.span.IsValid() {
		return nil
	}
	if c.span.IsSampled() {
		c.since = make([]time.Time, n)
		now := time.Now()
		for i := range c.since {
			c.since[i] = now
		}
	}
	return c
}

// traceSent records that the wants of r have left the queue, and begins its span. The
// span has no parent, since it may serve many calls; it links to those that are sampled.
// If all calls that are traced are not sampled, nor is the request. If there are none, as
// for a probe, the sampler decides.
func (g *Gate) traceSent(r *request, now time.Time) {
	if g.cfg.Tracer == nil {
		return
	}
	r.trace = &requestTrace{}
	var links []trace.Link
	var unsampled *callTrace
	try := 1
	for _, w := range r.wants {
		w.trace = r.trace
		try = max(try, w.tries+1)
		for _, x := range w.waiters {
			c := x.pending.trace
			if !c.sampled() {
				unsampled = cmp.Or(c, unsampled)
			} else if c.sent(x.place, w.tries+1, r.trace, now) && len(links) < maxLinks {
				links = append(links, trace.Link{SpanContext: c.span})
			}
		}
	}
	if unsampled != nil && links == nil {
		r.trace.span = trace.SpanFromContext(trace.ContextWithSpanContext(context.Background(), unsampled.span))
		return
	}
	r.trace.links = len(links)
	_, r.trace.span = g.cfg.Tracer.Start(context.Background(), "gate.batch",
		trace.WithTimestamp(now), trace.WithLinks(links...), trace.WithAttributes(
			attribute.String("clerkgate.kind", r.traceKind()),
			attribute.Int("clerkgate.wants", len(r.wants)),
			attribute.Int("clerkgate.try", try),
		))
}

// traceKind returns the kind of r in the words of its span.
func (r *request) traceKind() string {
	return map[kind]string{probeRequest: "probe", partRequest: "split", lookupRequest: "lookup", callRequest: "call"}[r.kind]
}

// context returns ctx with the span of r.
func (r *request) context(ctx context.Context) context.Context {
	if r.trace == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, r.trace.span)
}

// traceAnswered ends the span of r.
func (r *request) traceAnswered(err error) {
	if r.trace == nil {
		return
	}
	if err != nil {
		r.trace.span.SetStatus(codes.Error, reason(err))
	}
	r.trace.span.End()
}

// traceRequeued records that the wants of r wait again, at least until they are answered.
func (g *Gate) traceRequeued(r *request, now time.Time) {
	if g.cfg.Tracer == nil {
		return
	}
	for _, w := range r.wants {
		for _, x := range w.waiters {
			if c := x.pending.trace; c.sampled() {
				c.since[x.place] = now
			}
		}
	}
}

// traceGranted records that w, a lease, waits no longer.
func (w *want) traceGranted(now time.Time) {
	for _, x := range w.waiters {
		if c := x.pending.trace; c.sampled() {
			c.sent(x.place, w.tries+1, nil, now)
		}
	}
}

// traceWaits makes the spans of an answered call: one for each time that some of its
// wants waited for a request, and one for those that were given up while they waited.
func (g *Gate) traceWaits(ctx context.Context, p *pending) {
	c := p.trace
	if !c.sampled() {
		return
	}
	left := waited{until: time.Now()}
	for i, r := range p.results {
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
		g.traceWait(ctx, w)
	}
}

func (g *Gate) traceWait(ctx context.Context, w waited) {
	options := []trace.SpanStartOption{trace.WithTimestamp(w.since), trace.WithAttributes(attribute.Int("clerkgate.wants", w.wants))}
	if w.request != nil {
		options = append(options, trace.WithAttributes(attribute.Int("clerkgate.try", w.try)))
		if span := w.request.span.SpanContext(); span.IsSampled() {
			options = append(options, trace.WithLinks(trace.Link{SpanContext: span}))
		}
	}
	_, span := g.cfg.Tracer.Start(ctx, "gate.queue", options...)
	if w.err != nil {
		span.SetStatus(codes.Error, reason(w.err))
	}
	span.End(trace.WithTimestamp(w.until))
}

// givenUp reports whether err is not an answer of Clerk's.
func givenUp(err error) bool {
	var refused *Error
	return errors.As(err, &refused) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// reason describes err without any data of users or callers, which its own text may
// have.
func reason(err error) string {
	var refused *Error
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
