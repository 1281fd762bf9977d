package gate

import (
	"context"
	"errors"
	"time"

	"github.com/clerkgate/clerkgate/internal/fairqueue"
)

// acquire acquires a lease. It looks for request ids only at this replica.
func (g *Gate) acquire(ctx context.Context, r LeaseRequest, o Options) (Lease, error) {
	g.mu.Lock()
	now := time.Now()
	key := requestKey{o.Caller, r.ID}
	g.endLeases(now)
	le := g.leases.byRequest[key]
	switch {
	case le == nil:
	case le.request != r:
		g.mu.Unlock()
		return Lease{}, ErrRequestID
	case le.state == leaseOver:
		g.mu.Unlock()
		return Lease{}, ErrNoLease
	case le.state == leaseOut:
		again := le.Lease
		again.Repeated = true
		g.mu.Unlock()
		return again, nil
	}
	p := g.newWaitingCall(ctx, 1)
	g.enter(p, o)
	if le == nil {
		var err error
		if le, err = g.newLease(p, r, o, now); err != nil {
			g.reportRefused(p.caller, r.Permits, err)
			p.fill(0, Result{Err: err})
		}
	} else if kind := g.crowded(p.line); kind != nil {
		g.turnAway(p, 0, &Error{Kind: kind, RetryAfter: max(g.limiter.RoundTrip(), time.Millisecond)})
	} else {
		x := le.want.join(p, 0)
		x.count(true)
		if le.want.item.Waiting() {
			g.lineUp(x, now)
		}
	}
	g.mu.Unlock()
	g.poke()
	g.wait(ctx, p)
	if err := p.results[0].Err; err != nil {
		g.poke() // the permits that it has given back are free
		return Lease{}, err
	}
	if ctx.Err() != nil && r.ID == "" { // no caller can get it any more
		g.mu.Lock()
		defer g.mu.Unlock()
		return Lease{}, errors.Join(ctx.Err(), g.release(le.ID, LeaseUse{}, time.Now()))
	}
	return le.Lease, nil
}

// newLease puts a request for a lease into the queue, or refuses it.
func (g *Gate) newLease(p *waitingCall, r LeaseRequest, o Options, now time.Time) (*lease, error) {
	eta, err := g.admit(p, nil, fairqueue.Whole, 1, now)
	if err != nil {
		return nil, err
	}
	le := &lease{request: r, caller: p.caller, name: o.Caller}
	le.want = newWant(&want{lease: le, eta: eta})
	wait, err := g.leaseWait(le, g.queue.Ahead(p.line, fairqueue.Whole, 1), g.leases.missing(), now)
	if err == nil && !p.deadline.IsZero() {
		if late := wait - p.deadline.Sub(now); late > 0 {
			err = &Error{Kind: g.tooLate(now), RetryAfter: late}
		}
	}
	if err != nil {
		return nil, err
	}
	if r.ID != "" {
		g.leases.remember(requestKey{o.Caller, r.ID}, le)
	}
	g.lineUp(le.want.join(p, 0), now)
	return le, nil
}
