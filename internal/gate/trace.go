package gate

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
	"github.com/clerkgate/clerkgate/internal/fairqueue"
)

// maxLinks is how many calls a request's span links to.
const maxLinks = 128

// batch is the tracing of one flight.
type batch struct {
	span  trace.Span // one that records nothing, if it is not sampled
	links int
}

// callTrace is what a traced call notes of itself. While it is pending it is
// guarded by Gate.mu, and afterwards it is the caller's.
type callTrace struct {
	span  trace.SpanContext
	since []time.Time // by place: since when it waits in the queue, zero while in flight; nil if the call is not sampled
	waits []waited
}

// waited is a time that some of a call's wants have waited in the queue until
// they were sent together.
type waited struct {
	since, until time.Time
	wants, try   int
	batch        *batch // nil: they were not sent to Clerk
	err          error  // why not
}

// trace begins the tracing of a call with n places, if it is traced.
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

// sampled says whether what the call does is to be recorded.
func (c *callTrace) sampled() bool { return c != nil && c.since != nil }

// sent notes that place i has left the queue with w. It says whether it is the
// first place of the call to go with b.
func (c *callTrace) sent(i int, w *want, b *batch, now time.Time) (first bool) {
	since := c.since[i]
	if since.IsZero() {
		since = now
	}
	c.since[i] = time.Time{}
	if at := slices.IndexFunc(c.waits, func(w waited) bool { return w.batch == b }); at >= 0 {
		same := &c.waits[at]
		same.wants++
		same.until = now
		same.try = max(same.try, w.tries+1)
		if since.Before(same.since) {
			same.since = since
		}
		return false
	}
	c.waits = append(c.waits, waited{since: since, until: now, wants: 1, try: w.tries + 1, batch: b})
	return true
}

// traceSent notes that f's wants have left the queue, and begins its span. The
// span is nobody's child, since it may serve many calls; it links to those that
// are sampled. If there are only others it has none, and if nobody who is traced
// waits for it, as for a probe, the sampler decides.
func (g *Gate) traceSent(f *flight, now time.Time) {
	if g.cfg.Tracer == nil {
		return
	}
	f.batch = &batch{}
	var links []trace.Link
	var unsampled *callTrace
	try := 1
	for _, w := range f.wants {
		w.batch = f.batch
		try = max(try, w.tries+1)
		for _, x := range w.waiters {
			c := x.pending.trace
			if !c.sampled() {
				unsampled = cmp.Or(c, unsampled)
			} else if c.sent(x.index, w, f.batch, now) && len(links) < maxLinks {
				links = append(links, trace.Link{SpanContext: c.span})
			}
		}
	}
	if unsampled != nil && links == nil {
		// What belongs to the request is not sampled either.
		f.batch.span = trace.SpanFromContext(trace.ContextWithSpanContext(context.Background(), unsampled.span))
		return
	}
	f.batch.links = len(links)
	_, f.batch.span = g.cfg.Tracer.Start(context.Background(), "gate.batch",
		trace.WithTimestamp(now), trace.WithLinks(links...), trace.WithAttributes(
			attribute.String("clerkgate.kind", f.traceKind()),
			attribute.Int("clerkgate.wants", len(f.wants)),
			attribute.Int("clerkgate.try", try),
		))
}

// traceKind names what f asks for.
func (f *flight) traceKind() string {
	switch {
	case f.isProbe:
		return "probe"
	case f.group != nil:
		return "split"
	case f.kind == fairqueue.Shared:
		return "lookup"
	}
	return "call"
}

// join notes that place i of p has joined w, which is in flight.
func (b *batch) join(p *pending, i int, w *want, now time.Time) {
	if b == nil || !p.trace.sampled() || !p.trace.sent(i, w, b, now) || b.links >= maxLinks {
		return
	}
	b.links++
	b.span.AddLink(trace.Link{SpanContext: p.trace.span})
}

// context gives a context in which the request is part of f's span.
func (f *flight) context(ctx context.Context) context.Context {
	if f.batch == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, f.batch.span)
}

// traceAnswered ends f's span.
func (f *flight) traceAnswered(err error) {
	if f.batch == nil {
		return
	}
	if err != nil {
		f.batch.span.SetStatus(codes.Error, reason(err))
	}
	f.batch.span.End()
}

// traceLanded notes that f's wants wait again, until they are answered.
func (g *Gate) traceLanded(f *flight, now time.Time) {
	if g.cfg.Tracer == nil {
		return
	}
	for _, w := range f.wants {
		for _, x := range w.waiters {
			if c := x.pending.trace; c.sampled() {
				c.since[x.index] = now
			}
		}
	}
}

// traceGranted notes that w, a permit of a lease, waits no longer.
func (w *want) traceGranted(now time.Time) {
	for _, x := range w.waiters {
		if c := x.pending.trace; c.sampled() {
			c.sent(x.index, w, nil, now)
		}
	}
}

// traceWaits makes the spans of an answered call: one for each time that
// wants of its waited for a request, and one for those that were given up while
// they waited.
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
	if w.batch != nil {
		options = append(options, trace.WithAttributes(attribute.Int("clerkgate.try", w.try)))
		if batch := w.batch.span.SpanContext(); batch.IsSampled() {
			options = append(options, trace.WithLinks(trace.Link{SpanContext: batch}))
		}
	}
	_, span := g.cfg.Tracer.Start(ctx, "gate.queue", options...)
	if w.err != nil {
		span.SetStatus(codes.Error, reason(w.err))
	}
	span.End(trace.WithTimestamp(w.until))
}

// givenUp says whether err is the end of something that was not answered by Clerk.
func givenUp(err error) bool {
	var refused *Error
	return errors.As(err, &refused) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// reason says what went wrong in words that hold nothing of a user's or a
// caller's, as those of an error may.
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
