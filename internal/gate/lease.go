package gate

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/clerkgate/clerkgate/internal/fairqueue"
	"github.com/clerkgate/clerkgate/internal/quota"
)

// What can be wrong with the release of a lease.
var (
	// ErrNoLease: there is no such lease, or it has ended.
	ErrNoLease = errors.New("no such lease")
	// ErrLeaseUse: more permits are said to be used than the lease had.
	ErrLeaseUse = errors.New("more permits used than the lease had")
)

// LeaseSizeError says that more permits, or fewer, are asked for than can be lent at once.
type LeaseSizeError struct {
	Max int // the most
}

// Error says how many may be asked for.
func (e *LeaseSizeError) Error() string { return fmt.Sprintf("a lease has 1 to %d permits", e.Max) }

// Lease is a number of permits lent to a caller that sends requests to Clerk
// itself.
type Lease struct {
	ID      string
	Expires time.Time // when it ends by itself; its permits then count as lost
}

// lease is one that is being gathered, or lent.
type lease struct {
	Lease
	caller  *caller
	permits []quota.Permit
}

// leases are those lent, also in the order in which they end.
type leases struct {
	byID  map[string]*lease
	order []*lease
}

// Acquire lends count permits, at least 1 and at most what could ever be held at
// once, else it fails with a *LeaseSizeError. Each of them is a want of its own in
// the queue, as a list call is, so fairness and deadlines hold as for reads; those
// gathered are held until the last has come, and go back if ctx ends before. The turns
// that these took are spent, since nobody else could have the permits meanwhile. Who asks pays, once
// the lease has ended, for those that were used. Its errors are those of Result.
func (g *Gate) Acquire(ctx context.Context, count int, o Options) (Lease, error) {
	g.mu.Lock()
	now := time.Now()
	if most := g.limiter.State(now).Capacity; count < 1 || count > most {
		g.mu.Unlock()
		return Lease{}, &LeaseSizeError{Max: most}
	}
	p := g.newPending(ctx, count)
	g.enter(p, o)
	eta, err := g.admit(p, nil, fairqueue.Whole, count, now)
	if err != nil {
		g.refused(p.caller, count, err)
		p.line.Release()
		g.mu.Unlock()
		return Lease{}, err
	}
	le := &lease{caller: p.caller}
	for i := range count {
		w := newWant(&want{lease: le, eta: eta})
		g.lineUp(w.join(p, i), now)
	}
	g.mu.Unlock()
	g.poke()
	g.wait(ctx, p)

	g.mu.Lock()
	defer g.mu.Unlock()
	now = time.Now()
	for _, r := range p.results {
		if r.Err != nil {
			for _, permit := range le.permits {
				g.giveBack(permit, now)
			}
			g.poke()
			return Lease{}, r.Err
		}
	}
	le.Lease = Lease{ID: rand.Text(), Expires: now.Add(g.cfg.LeaseTTL)}
	g.leases.byID[le.ID] = le
	g.leases.order = append(g.leases.order, le)
	g.poke() // Run must know of its end
	return le.Lease, nil
}

// AllUsed is the number of used permits that stands for all of a lease.
const AllUsed = -1

// Release ends a lease of which used permits were used and answered. The others
// go back at once.
func (g *Gate) Release(id string, used int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	le := g.leases.byID[id]
	if le == nil {
		return ErrNoLease
	}
	if used == AllUsed {
		used = len(le.permits)
	}
	if used < 0 || used > len(le.permits) {
		return ErrLeaseUse
	}
	delete(g.leases.byID, id)
	le.caller.pay(used)
	now := time.Now()
	for i, p := range le.permits {
		if i < used {
			g.limiter.Answered(p, time.Time{}, now, now, nil)
		} else {
			g.giveBack(p, now)
		}
	}
	g.poke()
	return nil
}

// leased returns how many permits leases hold; g.mu is held.
func (g *Gate) leased() (n int) {
	for _, le := range g.leases.byID {
		n += len(le.permits)
	}
	return n
}

// expireLeases ends those whose time is over: what they may have sent is not
// known, so all their permits count as lost. It says when the next one ends.
func (g *Gate) expireLeases(now time.Time) time.Time {
	for len(g.leases.order) > 0 {
		le := g.leases.order[0]
		lent := g.leases.byID[le.ID] != nil
		if lent && le.Expires.After(now) {
			return le.Expires
		}
		g.leases.order = g.leases.order[1:]
		if !lent {
			continue
		}
		delete(g.leases.byID, le.ID)
		le.caller.pay(len(le.permits))
		for _, p := range le.permits {
			g.limiter.Lost(p, now)
		}
		g.cfg.Logger.Warn("a lease was not released", "permits", len(le.permits))
	}
	return time.Time{}
}

// grant gives f's permit to the lease that waits for it.
func (g *Gate) grant(f *flight) {
	w := f.wants[0]
	w.lease.permits = append(w.lease.permits, f.permit)
	w.traceGranted(f.sent)
	f.done(errNeutral)
	g.finish(w, Result{}, nil)
}
