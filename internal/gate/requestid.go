package gate

import (
	"context"
	"time"
)

// A request id stands for one lease, at whichever replica a caller asks. If replicas share
// the quota, the shared state has an entry for each request id: it names the replica where
// the request waits, and later the lease that was granted. The entry lasts as long as the
// lease. While the request waits, its replica renews the entry, so that it ends soon after
// the replica does. If the shared state can't be reached, only the replica that grants a
// lease knows its request id.

// claimLook is how often an entry of another replica is read.
const claimLook = 100 * time.Millisecond

// Acquire lends permits. It fails with a *LeaseSizeError unless the request is for at least
// one permit and at most as many as may be lent at once. The request is one item of the
// queue that costs as many turns as it has permits. Once its turn has come it takes at most
// every second permit. It gives them back if the limit of the quota falls, or if ctx ends
// before it has all. The caller pays for the permits that were used, once the lease has
// ended. Other errors are those of Result, ErrRequestID, and ErrNoLease if the lease of an
// earlier request with the same ID has ended.
func (g *Gate) Acquire(ctx context.Context, r LeaseRequest, o Options) (Lease, error) {
	if r.TTL <= 0 {
		r.TTL = leaseTTL
	}
	if most := g.limiter.Config().MostLent(); r.Permits < 1 || r.Permits > most {
		return Lease{}, &LeaseSizeError{Max: most}
	}
	if g.shared != nil && r.ID != "" {
		return g.acquireOnce(ctx, r, o)
	}
	return g.acquire(ctx, r, o)
}

// acquireOnce acquires a lease for a request with an id, if replicas share the quota.
func (g *Gate) acquireOnce(ctx context.Context, r LeaseRequest, o Options) (Lease, error) {
	key := requestKey{o.Caller, r.ID}
	c := g.newClaim(key, r)
	for {
		waits, granted, closed := g.requestHere(key)
		if granted || closed {
			return g.acquire(ctx, r, o)
		}
		if waits {
			break
		}
		e, left, err := c.make(ctx)
		if err != nil { // only this replica will know
			return g.acquire(ctx, r, o)
		}
		switch {
		case e.Permits != r.Permits || e.TTL != r.TTL:
			return Lease{}, ErrRequestID
		case e.Released:
			return Lease{}, ErrNoLease
		case e.Lease != "":
			return Lease{ID: e.Lease, Expires: time.Now().Add(left), Repeated: true}, nil
		}
		if e.Replica == c.entry.Replica {
			break
		}
		select { // it waits at another replica
		case <-ctx.Done():
			return Lease{}, ctx.Err()
		case <-time.After(claimLook):
		}
	}
	background := context.WithoutCancel(ctx)
	done, kept := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(kept)
		c.keep(background, done)
	}()
	le, err := g.acquire(ctx, r, o)
	close(done)
	<-kept
	if waits, _, _ := g.requestHere(key); !waits { // no other call waits for it
		c.end(background, le, err)
	}
	return le, err
}

// requestHere reports whether a request waits at this replica, whether this replica has
// granted its lease, and whether the gate is closed.
func (g *Gate) requestHere(key requestKey) (waits, granted, closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.endLeases(time.Now())
	le := g.leases.byRequest[key]
	if le == nil {
		return false, false, g.closed
	}
	granted = le.state == leaseOut || le.state == leaseOver
	return !granted, granted, g.closed
}
