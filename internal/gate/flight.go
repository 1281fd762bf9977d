package gate

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	"github.com/clerkgate/clerkgate/internal/fairqueue"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// flight is one request to Clerk.
type flight struct {
	priority Priority
	kind     fairqueue.Kind // Shared: lookups
	wants    []*want
	taken    []fairqueue.Taken // the wants, in the same order; none for splits
	payers   []*caller         // who pay for it, one for each want
	permit   quota.Permit
	sent     time.Time
	stamp    uint64
	isProbe  bool
	split    bool        // of wants that Clerk refused together
	group    *group      // which of them
	done     func(error) // settles it with the breaker
	batch    *batch      // nil if nothing is traced
}

// lookup says whether f asks for users by their ids.
func (f *flight) lookup() bool { return !f.isProbe && f.kind == fairqueue.Shared }

// endpoint names what f asks Clerk, for the log.
func (f *flight) endpoint() string {
	switch {
	case f.isProbe:
		return "probe"
	case f.kind == fairqueue.Whole:
		return f.wants[0].asks
	case len(f.wants) == 1:
		return "get"
	}
	return "lookup"
}

// answer is what a flight brought.
type answer struct {
	results []Result // of a lookup
	value   any      // of a call
	meta    clerkapi.Meta
	err     error
}

// fly asks Clerk and hands round what came of it.
func (g *Gate) fly(ctx context.Context, f *flight) {
	a := g.ask(f.context(ctx), f)
	f.traceAnswered(a.err)
	g.land(f, a)
	g.poke()
}

func (g *Gate) ask(ctx context.Context, f *flight) (a answer) {
	// A fault in one answer must not take the server down with it.
	defer func() {
		if p := recover(); p != nil {
			g.cfg.Logger.Error("reading Clerk's answer panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			a = answer{err: &clerkapi.Error{Kind: clerkapi.ErrBadAnswer, Err: errors.New("reading it panicked")}}
		}
	}()
	switch {
	case f.isProbe:
		var page *clerkapi.Page
		if page, a.err = g.cfg.Upstream.ListUsers(ctx, clerkapi.ListParams{Limit: 1}); a.err == nil {
			a.meta = page.Meta
		}
	case f.kind == fairqueue.Whole:
		a.value, a.meta, a.err = f.wants[0].call(ctx)
	default:
		asked := make([]string, len(f.wants))
		for i, w := range f.wants {
			asked[i] = w.id
		}
		var lookup *clerkapi.Lookup
		if lookup, a.err = g.cfg.Upstream.LookupUsers(ctx, asked); a.err == nil {
			a.meta = lookup.Meta
			a.results = g.keep(f, asked, lookup.Results)
		}
	}
	return a
}

// keep has answers kept, and makes results of them.
func (g *Gate) keep(f *flight, asked []string, users []clerkapi.UserResult) []Result {
	results := make([]Result, len(users))
	for i, u := range users {
		r := Result{User: u.User, Err: u.Err, FetchTime: f.sent, Stamp: f.stamp}
		if r.Err == nil || errors.Is(r.Err, clerkapi.ErrNotFound) {
			r.Kept = g.cfg.Keep(asked[i], r)
		}
		results[i] = r
	}
	return results
}

// land settles f's permit, tells the breaker, and answers f's wants or finds
// them another way.
func (g *Gate) land(f *flight, a answer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	delete(g.flights, f)
	g.traceLanded(f, now)
	g.settlePermit(f, a, now)
	g.countFlight(f, a, now)
	g.shut.settle(f, outcomeOf(a.err), a.err)
	if a.err != nil && !errors.Is(a.err, context.Canceled) {
		g.logFailure(f, a.err, now.Sub(f.sent))
	}
	g.handRound(f, a, now)
	if g.shut.refusing() {
		g.failAll(g.shut.refusal(now))
	}
}

// logFailure writes down what a request met, in Clerk's own words too.
func (g *Gate) logFailure(f *flight, err error, took time.Duration) {
	attrs := []any{"endpoint", f.endpoint(), "took", took, "error", err}
	if f.lookup() {
		attrs = append(attrs, "ids", len(f.wants))
	}
	var e *clerkapi.Error
	if errors.As(err, &e) {
		for _, a := range []struct{ key, value string }{{"clerk_trace_id", e.Meta.TraceID}, {"clerk_says", e.Message}} {
			if a.value != "" {
				attrs = append(attrs, a.key, a.value)
			}
		}
		if e.Status != 0 {
			attrs = append(attrs, "status", e.Status)
		}
	}
	g.cfg.Logger.Warn("a request to Clerk failed", attrs...)
}

// outcomeOf is what an error of Clerk's means to the breaker.
func outcomeOf(err error) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, clerkapi.ErrRateLimited):
		return errNeutral
	case errors.Is(err, clerkapi.ErrUnavailable), errors.Is(err, clerkapi.ErrBadAnswer):
		return errFailure
	}
	return nil
}

func (g *Gate) settlePermit(f *flight, a answer, now time.Time) {
	var e *clerkapi.Error
	meta := a.meta
	if errors.As(a.err, &e) {
		meta = e.Meta
	}
	var h *quota.Headers
	if r := meta.RateLimit; r.Present {
		h = &quota.Headers{Remaining: r.Remaining, Reset: r.Reset}
		g.totals.upstream = &Upstream{Limit: r.Limit, Remaining: r.Remaining, Reset: now.Add(r.Reset), Observed: now}
	}
	at := meta.Answered
	if at.IsZero() {
		at = now
	}
	switch {
	case a.err == nil:
		g.limiter.Answered(f.permit, f.sent, at, now, h)
	case errors.Is(a.err, clerkapi.ErrNotSent):
		g.giveBack(f.permit, now)
	case errors.Is(a.err, clerkapi.ErrRateLimited):
		g.limiter.Limited(f.permit, now, e.RetryAfter, h)
	case e != nil && e.Status != 0:
		g.limiter.Answered(f.permit, f.sent, at, now, h)
	default:
		g.limiter.Lost(f.permit, now)
	}
}

// handRound answers f's wants, or puts them back.
func (g *Gate) handRound(f *flight, a answer, now time.Time) {
	switch {
	case f.isProbe:
		if errors.Is(a.err, clerkapi.ErrKeyRejected) {
			g.shut.rejectKey(a.err, g.cfg.Key(), now)
		} else if outcomeOf(a.err) == nil {
			g.shut.keyRejected = nil
		} else if g.shut.keyRejected != nil {
			g.shut.probeAt = now.Add(g.shut.openFor)
		}
	case a.err == nil:
		g.deliver(f, a)
	case g.closed, errors.Is(a.err, context.Canceled):
		g.failFlight(f, &Error{Kind: ErrShuttingDown})
	case errors.Is(a.err, clerkapi.ErrRateLimited):
		g.takeBack(f, now, a.err)
	case errors.Is(a.err, clerkapi.ErrUnavailable), errors.Is(a.err, clerkapi.ErrBadAnswer):
		g.retry(f, now, a.err)
	case errors.Is(a.err, clerkapi.ErrRejected) && len(f.wants) > 1:
		g.split(f, now, a.err)
	case errors.Is(a.err, clerkapi.ErrRejected) && f.group != nil:
		g.chargeCulprit(f)
		g.failFlight(f, a.err)
	case errors.Is(a.err, clerkapi.ErrKeyRejected):
		g.shut.rejectKey(a.err, g.cfg.Key(), now)
		g.failFlight(f, a.err)
	default:
		g.failFlight(f, a.err)
	}
}

func (g *Gate) failFlight(f *flight, err error) {
	for _, w := range f.wants {
		g.fail(w, err)
	}
}

// deliver answers f's wants with what Clerk said.
func (g *Gate) deliver(f *flight, a answer) {
	if f.kind == fairqueue.Whole {
		g.finish(f.wants[0], Result{FetchTime: f.sent, Stamp: f.stamp}, a.value)
		return
	}
	for i, w := range f.wants {
		g.finish(w, a.results[i], nil)
	}
	g.totals.lookups += int64(len(f.wants))
}

// takeBack puts what a 429 answered to the front of the queue, and refuses all
// that can't wait until the key is free again.
func (g *Gate) takeBack(f *flight, now time.Time, cause error) {
	for _, t := range f.taken {
		g.queue.Refund(t)
	}
	for i := len(f.wants) - 1; i >= 0; i-- {
		g.enqueue(f.wants[i], now)
	}
	g.recheck(now, cause)
}

// recheck refuses those whose deadlines their places in the queue no longer
// meet, now that a 429 has made the wait longer.
func (g *Gate) recheck(now time.Time, cause error) {
	etas := make(map[*want]time.Time) // by the line of each that is the quickest
	expect := func(w *want, ahead int) {
		eta := now.Add(g.estimate(ahead, now))
		if other, ok := etas[w]; !ok || eta.Before(other) {
			etas[w] = eta
		}
	}
	g.queue.EachAhead(func(it *fairqueue.Item, ahead int) { expect(wantOf(it), ahead) })
	for _, w := range g.apart() {
		for _, x := range w.waiters {
			expect(w, g.queue.AheadAtFront(x.pending.line, w.item.Kind))
		}
	}
	kind := ErrDeadlineTooShort
	if !g.limiter.State(now).PausedUntil.IsZero() {
		kind = ErrRateLimited
	}
	for w, eta := range etas {
		eta = eta.Add(g.limiter.RoundTrip())
		g.refuseBefore(w, eta, &Error{Kind: kind, RetryAfter: eta.Sub(now), Err: cause})
	}
}

// refuseBefore answers with err those waiters of w whose deadline is before t.
func (g *Gate) refuseBefore(w *want, t time.Time, err error) {
	for i := len(w.waiters) - 1; i >= 0; i-- {
		x := w.waiters[i]
		if d := x.pending.deadline; !d.IsZero() && d.Before(t) {
			g.leave(x)
			g.refused(x.pending.caller, 1, err)
			x.pending.fill(x.index, Result{Err: err})
		}
	}
}

// leave takes one waiter away, and with the last one what has not been sent.
func (g *Gate) leave(x *waiter) {
	w := x.want
	x.part()
	g.queue.Leave(&w.item, x.pending.line)
	if len(w.waiters) == 0 && (w.id == "" || g.flying[w.id] != w) {
		g.drop(w)
	}
}
