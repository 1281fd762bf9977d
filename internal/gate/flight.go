package gate

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
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
	parties  []Party           // who these are
	permit   quota.Permit
	sent     time.Time
	stamp    uint64
	number   uint64 // of all that have left
	beside   int    // how many were under way when it left, itself included
	isProbe  bool
	gathers  bool        // it is none, but a permit for a lease
	group    *group      // part of a refused batch that it is; nil: none
	done     func(error) // settles it with the breaker
	batch    *batch      // nil if nothing is traced
}

// lookup says whether f asks for users by their ids.
func (f *flight) lookup() bool { return !f.isProbe && f.kind == fairqueue.Shared }

// alone says whether f must not be joined by others' ids.
func (f *flight) alone() bool { return f.group != nil || len(f.wants) > 0 && f.wants[0].alone }

// add adds a want, for which x pays.
func (f *flight) add(w *want, x *waiter) {
	f.wants = append(f.wants, w)
	f.payers = append(f.payers, x.pending.caller)
	f.parties = append(f.parties, x.pending.party)
}

// shared says whether f's wants are those of several callers.
func (f *flight) shared() bool {
	return slices.ContainsFunc(f.parties, func(p Party) bool { return p != f.parties[0] })
}

// callers gives who asked for f's wants, as far as that is proven: one that gives
// itself other names is no other caller.
func (f *flight) callers() []string {
	var all []string
	for _, p := range f.parties {
		who := "peer " + p.Peer
		if p.Peer == "" {
			who = "name " + p.Name
		}
		if !slices.Contains(all, who) {
			all = append(all, who)
		}
	}
	return all
}

// failedBefore says whether any of f's wants has.
func (f *flight) failedBefore() bool {
	return slices.ContainsFunc(f.wants, func(w *want) bool { return w.tries > 0 })
}

// queries gives what f's wants ask for.
func (f *flight) queries() []uint64 {
	queries := make([]uint64, len(f.wants))
	for i, w := range f.wants {
		queries[i] = w.query
	}
	return queries
}

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
	unclear []bool   // of a batch: only a request for the id alone can tell
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
			a = answer{err: g.panicked(p)}
		}
	}()
	switch {
	case f.isProbe:
		a.meta, a.err = g.probe(ctx)
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
			a.unclear = make([]bool, len(asked))
			for i, r := range lookup.Results {
				a.unclear[i] = r.Unclear && len(asked) > 1
			}
		}
	}
	return a
}

// panicked logs a panic in reading an answer, and makes it an error.
func (g *Gate) panicked(p any) error {
	g.cfg.Logger.Error("reading Clerk's answer panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	return &clerkapi.Error{Kind: clerkapi.ErrBadAnswer, Err: errors.New("reading it panicked")}
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
	v := clerkapi.Judge(a.err)
	g.traceLanded(f, now)
	g.countFlight(f, a, now)
	if a.err != nil && v.Concern != clerkapi.ConcernsNobody {
		g.logFailure(f, a.err, now.Sub(f.sent))
	}
	if v.Spent == clerkapi.SpentAnswered {
		g.bears.answer(f.beside)
	}
	switch {
	case f.isProbe:
		g.settlePermit(f, a, v.Spent, now)
		g.probed(f, a, v, now)
	case v.Spent == clerkapi.SpentLimited && !g.closed:
		f.done(errNeutral)
		g.limitedFlight(f, a, v, now)
	default:
		g.settlePermit(f, a, v.Spent, now)
		g.shut.settle(f, v, a.err, now)
		g.handRound(f, a, v, now)
	}
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

// settlePermit gives f's permit back to the quota, as spent in one way or another.
func (g *Gate) settlePermit(f *flight, a answer, spent clerkapi.Spent, now time.Time) {
	var e *clerkapi.Error
	meta := a.meta
	if errors.As(a.err, &e) {
		meta = e.Meta
	}
	var h *quota.Headers
	// Only an answer that is Clerk's beyond doubt says how the quota stands.
	known := a.err == nil || f.isProbe || spent == clerkapi.SpentLimited
	if r := meta.RateLimit; r.Present && known {
		h = &quota.Headers{Remaining: r.Remaining, Reset: r.Reset}
		g.totals.upstream = &Upstream{Limit: r.Limit, Remaining: r.Remaining, Reset: now.Add(r.Reset), Observed: now}
	}
	at := meta.Answered
	if at.IsZero() {
		at = now
	}
	switch spent {
	case clerkapi.SpentNothing:
		g.giveBack(f.permit, now)
	case clerkapi.SpentLimited:
		g.limiter.Limited(f.permit, now, e.RetryAfter, h)
	case clerkapi.SpentAnswered:
		g.limiter.Answered(f.permit, f.sent, at, now, h)
	case clerkapi.SpentLost:
		g.limiter.Lost(f.permit, now)
	}
}

// handRound answers f's wants, or puts them back.
func (g *Gate) handRound(f *flight, a answer, v clerkapi.Verdict, now time.Time) {
	switch {
	case a.err == nil:
		g.probeTook = 0 // what others take says more
		g.deliver(f, a, now)
	case g.closed, v.Concern == clerkapi.ConcernsNobody:
		g.failFlight(f, &Error{Kind: ErrShuttingDown})
	case v.Resend && !f.wants[0].resent:
		for _, w := range f.wants {
			w.resent = true
		}
		g.figures.Retries[ended(a.err)]++
		g.takeBack(f, now)
	case v.Concern == clerkapi.ConcernsKey:
		g.doubtKey(f, a, v, now)
	case v.Retry:
		g.retry(f, v, now, a.err)
	default:
		g.refuse(f, v, now, a.err)
	}
}

func (g *Gate) failFlight(f *flight, err error) {
	for _, w := range f.wants {
		g.fail(w, err)
	}
}

// deliver answers f's wants with what Clerk said.
func (g *Gate) deliver(f *flight, a answer, now time.Time) {
	if f.kind == fairqueue.Whole {
		g.finish(f.wants[0], Result{FetchTime: f.sent, Stamp: f.stamp}, a.value)
		return
	}
	g.batch.answered(len(f.wants))
	for i, w := range f.wants {
		g.culprits.forget(w.query)
		if a.unclear[i] {
			w.askAlone()
			g.enqueue(w, now)
			continue
		}
		g.finish(w, a.results[i], nil)
		g.totals.lookups++
	}
}

// takeBack puts what f was to answer to the front of the queue.
func (g *Gate) takeBack(f *flight, now time.Time) {
	if f.group != nil {
		f.group.wants = f.wants
		g.park(f.group, now)
		return
	}
	for _, t := range f.taken {
		g.queue.Refund(t)
	}
	for i := len(f.wants) - 1; i >= 0; i-- {
		g.enqueue(f.wants[i], now)
	}
}

// refuseBefore answers with err those waiters of w whose deadline is before t.
func (g *Gate) refuseBefore(w *want, t time.Time, err error) {
	for i := len(w.waiters) - 1; i >= 0; i-- {
		x := w.waiters[i]
		if d := x.pending.deadline; !d.IsZero() && d.Before(t) {
			g.leave(x)
			g.refused(x.pending.caller, w.permits(), err)
			x.pending.fill(x.index, Result{Err: err})
		}
	}
}

// leave takes one waiter away, and with the last one what has not been sent.
func (g *Gate) leave(x *waiter) {
	w := x.want
	x.part()
	if gr := w.group; gr != nil {
		if g.queue.Leave(&gr.item, x.pending.line); !gr.item.Waiting() { // all of them have left
			g.unpark(gr)
		}
		return
	}
	g.queue.Leave(&w.item, x.pending.line)
	if len(w.waiters) == 0 && (w.id == "" || g.flying[w.id] != w) {
		g.drop(w)
	}
}
