package gate

import (
	"context"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/fairqueue"
)

// Lookup reads users. The ids must be valid (clerkapi.ValidUserID) and all different.
// It returns one result per id, in their order, once all are there or ctx has ended;
// ids that have no answer by then have ctx's error.
func (g *Gate) Lookup(ctx context.Context, ids []string, o Options) []Result {
	p := g.newWaitingCall(ctx, len(ids))
	if len(ids) == 0 {
		return nil
	}
	g.mu.Lock()
	now := time.Now()
	g.enter(p, o)
	for i, id := range ids {
		g.lookup(p, i, id, o, now)
	}
	g.mu.Unlock()
	g.poke()
	g.wait(ctx, p)
	return p.results
}

// lookup makes result i of p wait for a user, or refuses it.
func (g *Gate) lookup(p *waitingCall, i int, id string, o Options, now time.Time) {
	if w := g.asked[id]; w != nil && !o.Fresh && !w.sentAt.Before(o.LeftSince) && !g.closed {
		g.joinSent(p, i, w, now)
		return
	}
	w := g.queued[id]
	kind := fairqueue.Shared
	alone := g.culprits.has(queryOf("user:"+id), now)
	if alone {
		kind = fairqueue.Whole
	}
	eta, err := g.admit(p, w, kind, 1, now)
	if err != nil {
		g.turnAway(p, i, err)
		return
	}
	if w == nil {
		w = newWant(&want{id: id, alone: alone, eta: eta})
		g.queued[id] = w
		g.lineUp(w.join(p, i), now)
		return
	}
	x := w.join(p, i)
	x.count(true)
	if w.item.Waiting() { // not one that is delayed until a retry
		g.lineUp(x, now)
	}
}

// joinSent makes result i of p wait for w, which is under way.
func (g *Gate) joinSent(p *waitingCall, i int, w *want, now time.Time) {
	if kind := g.crowded(p.line); kind != nil {
		g.turnAway(p, i, &Error{Kind: kind, RetryAfter: max(g.limiter.RoundTrip(), time.Millisecond)})
		return
	}
	w.join(p, i).count(true)
	if p.trace != nil {
		p.trace.Left(i, w.tries+1, w.trace, now)
	}
}

// List reads one page of users. Its errors are those of Result.
func (g *Gate) List(ctx context.Context, params clerkapi.ListParams, o Options) (*Page, error) {
	v, r := g.listOrCount(ctx, "list", params.Query(), o, func(ctx context.Context) (any, clerkapi.Meta, error) {
		page, err := g.cfg.Upstream.ListUsers(ctx, params)
		if err != nil {
			return nil, clerkapi.Meta{}, err
		}
		return page, page.Meta, nil
	})
	if r.Err != nil {
		return nil, r.Err
	}
	page := v.(*clerkapi.Page)
	return &Page{Users: page.Users, Unreadable: page.Unreadable, FetchTime: r.FetchTime, Stamp: r.Stamp}, nil
}

// Count counts users. Its errors are those of Result.
func (g *Gate) Count(ctx context.Context, f *clerkgatev1.UserFilter, o Options) (Count, error) {
	v, r := g.listOrCount(ctx, "count", clerkapi.FilterQuery(f), o, func(ctx context.Context) (any, clerkapi.Meta, error) {
		c, err := g.cfg.Upstream.CountUsers(ctx, f)
		if err != nil {
			return nil, clerkapi.Meta{}, err
		}
		return c.Total, c.Meta, nil
	})
	if r.Err != nil {
		return Count{}, r.Err
	}
	return Count{Users: v.(int64), FetchTime: r.FetchTime}, nil
}

// listOrCount queues a list or count and waits for its answer.
func (g *Gate) listOrCount(ctx context.Context, endpoint, query string, o Options, do func(context.Context) (any, clerkapi.Meta, error)) (any, Result) {
	p := g.newWaitingCall(ctx, 1)
	g.mu.Lock()
	now := time.Now()
	g.enter(p, o)
	if eta, err := g.admit(p, nil, fairqueue.Whole, 1, now); err != nil {
		g.turnAway(p, 0, err)
	} else {
		w := newWant(&want{listOrCount: &listOrCount{endpoint, do}, query: queryOf(endpoint + ":" + query), eta: eta})
		g.lineUp(w.join(p, 0), now)
	}
	g.mu.Unlock()
	g.poke()
	g.wait(ctx, p)
	return p.value, p.results[0]
}

// newWaitingCall returns a call with n results to wait for.
func (g *Gate) newWaitingCall(ctx context.Context, n int) *waitingCall {
	p := &waitingCall{
		occupancy:  &g.occupancy,
		since:      time.Now(),
		results:    make([]Result, n),
		unanswered: n,
		done:       make(chan struct{}),
		waiters:    make([]waiter, n),
		trace:      g.cfg.Observer.Queued(ctx, n),
	}
	p.deadline, _ = ctx.Deadline()
	return p
}

// enter records who makes the call p, and assigns it a line.
func (g *Gate) enter(p *waitingCall, o Options) {
	who := o.party()
	p.caller, p.party = g.cfg.Callers.Get(o.Caller), who
	p.line = g.queue.Line(who, o.Priority)
}

// SetShares replaces the shares of all peers, by Party.Peer. The new shares apply at once,
// also to wants that already wait. SetShares keeps the map: do not change it afterwards.
func (g *Gate) SetShares(shares map[string]Share) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.queue.SetShares(shares)
}

// admit returns the time at which a newcomer can expect to be sent. If that is too late
// for its deadline, or there is no room, it returns the error that refuses the newcomer
// at once. The newcomer joins the want w or, if w is nil, is n new items of a kind.
func (g *Gate) admit(p *waitingCall, w *want, k fairqueue.Kind, n int, now time.Time) (eta time.Time, err error) {
	if g.closed {
		return eta, &Error{Kind: ErrShuttingDown}
	}
	g.key.retryReplaced()
	if g.refusing() {
		return eta, g.refusal(now)
	}
	wait := g.estimate(g.queue.Ahead(p.line, k, n), now)
	eta = now.Add(wait)
	if w != nil && w.eta.Before(eta) {
		eta = w.eta
	}
	back := max(wait, g.limiter.RoundTrip(), time.Millisecond)
	if kind := g.crowded(p.line); kind != nil {
		return eta, &Error{Kind: kind, RetryAfter: back}
	}
	if d := p.deadline; !d.IsZero() {
		if late := eta.Add(g.limiter.RoundTrip()).Sub(d); late > 0 {
			// A caller with as much time is accepted once the wait is shorter by late.
			return eta, &Error{Kind: g.tooLate(now), RetryAfter: late}
		}
	}
	return eta, nil
}

// turnAway refuses result i of p.
func (g *Gate) turnAway(p *waitingCall, i int, err error) {
	g.reportRefused(p.caller, 1, err)
	p.fill(i, Result{Err: err})
}

// wait blocks until p is answered or ctx ends. In the second case p leaves whatever it
// still waits for.
func (g *Gate) wait(ctx context.Context, p *waitingCall) {
	if p.trace != nil {
		defer p.trace.Done(ctx, p.results) // after the lock is free again
	}
	select {
	case <-p.done:
		return
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range p.waiters {
		if x := &p.waiters[i]; x.want != nil && x.slot >= 0 {
			g.leave(x)
			p.fill(i, Result{Err: ctx.Err()})
		}
	}
}
