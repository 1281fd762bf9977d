package gate

import (
	"context"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
	clerkgatev1 "github.com/clerkgate/clerkgate/gen/clerkgate/v1"
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
	l := g.callers.line(o)
	for i, id := range ids {
		g.lookup(p, i, id, l, o, now)
	}
	g.mu.Unlock()
	g.poke()
	g.wait(ctx, p)
	return p.results
}

// lookup makes place i of p wait for a user, or refuses it.
func (g *Gate) lookup(p *pending, i int, id string, l *line, o Options, now time.Time) {
	if w := g.flying[id]; w != nil && !o.Fresh && !g.closed {
		w.join(p, i, l)
		w.batch.join(p, i, w, now)
		return
	}
	w := g.queued[id]
	eta, err := g.admit(p, w, l, idCost, now)
	if err != nil {
		g.refused(l.caller, 1, err)
		p.fill(i, Result{Err: err})
		return
	}
	if w == nil {
		w = &want{id: id, eta: eta}
		g.queued[id] = w
		w.join(p, i, l)
		g.queue.add(w, l, now, false)
		return
	}
	w.join(p, i, l)
	if len(w.places) > 0 { // not one that is put off until a retry
		g.queue.add(w, l, now, false)
	}
}

// List reads one page of users. Its errors are those of Result.
func (g *Gate) List(ctx context.Context, params clerkapi.ListParams, o Options) (*Page, error) {
	v, r := g.call(ctx, "list", o, func(ctx context.Context) (any, clerkapi.Meta, error) {
		page, err := g.cfg.Upstream.ListUsers(ctx, params)
		if err != nil {
			return nil, clerkapi.Meta{}, err
		}
		return page, page.Meta, nil
	})
	if r.Err != nil {
		return nil, r.Err
	}
	return &Page{Users: v.(*clerkapi.Page).Users, FetchTime: r.FetchTime, Stamp: r.Stamp}, nil
}

// Count counts users. Its errors are those of Result.
func (g *Gate) Count(ctx context.Context, f *clerkgatev1.UserFilter, o Options) (int64, error) {
	v, r := g.call(ctx, "count", o, func(ctx context.Context) (any, clerkapi.Meta, error) {
		c, err := g.cfg.Upstream.CountUsers(ctx, f)
		if err != nil {
			return nil, clerkapi.Meta{}, err
		}
		return c.Total, c.Meta, nil
	})
	if r.Err != nil {
		return 0, r.Err
	}
	return v.(int64), nil
}

func (g *Gate) call(ctx context.Context, asks string, o Options, do func(context.Context) (any, clerkapi.Meta, error)) (any, Result) {
	p := g.newPending(ctx, 1)
	g.mu.Lock()
	now := time.Now()
	l := g.callers.line(o)
	if eta, err := g.admit(p, nil, l, callCost, now); err != nil {
		g.refused(l.caller, 1, err)
		p.fill(0, Result{Err: err})
	} else {
		w := &want{call: do, asks: asks, eta: eta}
		w.join(p, 0, l)
		g.queue.add(w, l, now, false)
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
// it would be a new one.
func (g *Gate) admit(p *pending, w *want, l *line, cost int64, now time.Time) (eta time.Time, err error) {
	if g.closed {
		return eta, &Error{Kind: ErrShuttingDown}
	}
	if g.shut.keyRejected != nil {
		g.shut.retryKey(g.cfg.Key())
	}
	if g.shut.refusing() {
		return eta, g.shut.refusal(now)
	}
	wait := g.estimate(l, l.units+cost-min(cost, callCost), cost, now)
	eta = now.Add(wait)
	if w != nil && w.eta.Before(eta) {
		eta = w.eta
	}
	back := max(wait, g.limiter.RoundTrip(), time.Millisecond)
	switch {
	case w == nil && g.queue.depth >= g.cfg.QueueLimit:
		return eta, &Error{Kind: ErrQueueFull, RetryAfter: back}
	case len(l.places) >= g.cfg.CallerQueueLimit && (w == nil || l.places[w] == nil):
		return eta, &Error{Kind: ErrCallerQueueFull, RetryAfter: back}
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

// estimate is how long what has own units ahead of it in l waits to be sent: until
// as many permits have come free as all that goes before it needs.
func (g *Gate) estimate(l *line, own, cost int64, now time.Time) time.Duration {
	ahead := l.level.backlog.ahead(own, l.weight)
	// What l itself has not got there yet (of a lease, say) is no backlog's.
	ahead += max(0, own-l.units)
	interactive, batch := &g.queue.levels[Interactive], &g.queue.levels[Batch]
	if l.level == interactive {
		ahead += min(ahead/(batchTurn-1), batch.backlog.total)
	} else {
		ahead = min(ahead+interactive.backlog.total, batchTurn*(ahead+cost))
	}
	permits := int(ahead/callCost) + 1
	wait := g.limiter.Estimate(now, permits)
	// So many in flight that their answers are what is waited for.
	if rounds := (len(g.flights) + permits - 1) / g.cfg.MaxInFlight; rounds > 0 {
		wait = max(wait, time.Duration(rounds)*g.limiter.RoundTrip())
	}
	return wait
}
