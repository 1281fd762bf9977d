package gate

import (
	"context"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
	"github.com/clerkgate/clerkgate/internal/fairqueue"
)

// Lookup reads users. The ids must be valid (clerkapi.ValidUserID) and
// different. It returns one result per id, in their order, once all are there or
// ctx has ended; ids that have no answer by then have ctx's error.
func (g *Gate) Lookup(ctx context.Context, ids []string, o Options) []Result {
	p := g.newPending(ctx, len(ids))
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

// lookup makes place i of p wait for a user, or refuses it.
func (g *Gate) lookup(p *pending, i int, id string, o Options, now time.Time) {
	if w := g.flying[id]; w != nil && !o.Fresh && !w.left.Before(o.LeftSince) && !g.closed {
		if kind := g.crowded(p.line); kind != nil {
			g.turnAway(p, i, &Error{Kind: kind, RetryAfter: max(g.limiter.RoundTrip(), time.Millisecond)})
			return
		}
		w.join(p, i).count(true)
		w.batch.join(p, i, w, now)
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
	if w.item.Waiting() { // not one that is put off until a retry
		g.lineUp(x, now)
	}
}

// turnAway answers place i of p with a refusal.
func (g *Gate) turnAway(p *pending, i int, err error) {
	g.refused(p.caller, 1, err)
	p.fill(i, Result{Err: err})
}

// enter notes who makes the call p, and gives it a line.
func (g *Gate) enter(p *pending, o Options) {
	who := o.party()
	p.caller, p.party = g.callers.get(o.Caller), who
	p.line = g.queue.Line(who, o.Priority, g.cfg.Weight(who.Name))
}

// lineUp puts x's want to the back of x's line, if it is not there already.
func (g *Gate) lineUp(x *waiter, now time.Time) {
	g.queue.Add(&x.want.item, x.pending.line, now)
	x.count(true)
}

// List reads one page of users. Its errors are those of Result.
func (g *Gate) List(ctx context.Context, params clerkapi.ListParams, o Options) (*Page, error) {
	v, r := g.call(ctx, "list", queryOf("list:"+params.Query()), o, func(ctx context.Context) (any, clerkapi.Meta, error) {
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
	v, r := g.call(ctx, "count", queryOf("count:"+clerkapi.FilterQuery(f)), o, func(ctx context.Context) (any, clerkapi.Meta, error) {
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

func (g *Gate) call(ctx context.Context, asks string, query uint64, o Options, do func(context.Context) (any, clerkapi.Meta, error)) (any, Result) {
	p := g.newPending(ctx, 1)
	g.mu.Lock()
	now := time.Now()
	g.enter(p, o)
	if eta, err := g.admit(p, nil, fairqueue.Whole, 1, now); err != nil {
		g.refused(p.caller, 1, err)
		p.fill(0, Result{Err: err})
	} else {
		w := newWant(&want{call: do, asks: asks, query: query, eta: eta})
		g.lineUp(w.join(p, 0), now)
	}
	g.mu.Unlock()
	g.poke()
	g.wait(ctx, p)
	return p.value, p.results[0]
}

// wait blocks until p is answered or ctx ends; then p leaves what it still waits for.
func (g *Gate) wait(ctx context.Context, p *pending) {
	defer g.traceWaits(ctx, p) // with the lock free again
	select {
	case <-p.done:
		return
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range p.waiters {
		if x := &p.waiters[i]; x.want != nil && x.at >= 0 {
			g.leave(x)
			p.fill(i, Result{Err: ctx.Err()})
		}
	}
}

// admit says when a newcomer may expect to be sent, or why it is refused: at
// once, rather than at its deadline. w is the want that it would join, nil if
// there would be n new ones, of a kind.
func (g *Gate) admit(p *pending, w *want, k fairqueue.Kind, n int, now time.Time) (eta time.Time, err error) {
	if g.closed {
		return eta, &Error{Kind: ErrShuttingDown}
	}
	if g.shut.keyRejected != nil {
		g.shut.retryKey(g.cfg.Key())
	}
	if g.shut.refusing() {
		return eta, g.shut.refusal(now)
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
			kind := ErrDeadlineTooShort
			if !g.limiter.State(now).PausedUntil.IsZero() {
				kind = ErrRateLimited
			}
			// With the same time to spare, it would be accepted once the wait is that much shorter.
			return eta, &Error{Kind: kind, RetryAfter: late}
		}
	}
	return eta, nil
}

// estimate is how long what has so many requests ahead of it waits to be sent: until
// as many permits have come free as these and its own need.
func (g *Gate) estimate(ahead int, now time.Time) time.Duration {
	permits := ahead + 1
	permits += min(permits, g.leases.missing()) // which take every second one
	wait := g.limiter.Estimate(now, permits)
	// So many in flight that their answers are what is waited for.
	if rounds := (len(g.flights) + permits - 1) / g.bears.limit; rounds > 0 {
		wait = max(wait, time.Duration(rounds)*g.limiter.RoundTrip())
	}
	return wait
}
