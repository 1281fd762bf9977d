package gate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// A request id is one lease, whichever replica is asked: where replicas share the quota,
// an entry in their shared state says which replica the request waits at, and later which
// lease it was granted. The entry lasts as long as the lease; while the request waits it
// is renewed, so that it ends soon after its replica has. If the shared state can't be
// reached, only the replica that grants a lease knows its request id.

const (
	claimFor   = 3 * time.Second        // how long an entry lasts if it is not renewed
	claimEvery = time.Second            // how often it is
	claimLook  = 100 * time.Millisecond // how often an entry of another replica is looked at
	// maxEnded is how many releases may wait to be told to the shared state.
	maxEnded = 1000
)

// requestEntry is what is known of a request for a lease. Lease is empty while it waits.
type requestEntry struct {
	Replica  string        `json:"replica"` // its tag
	Permits  int           `json:"permits"`
	TTL      time.Duration `json:"ttl"`
	Lease    string        `json:"lease,omitempty"`
	Released bool          `json:"released,omitempty"`
}

func (e requestEntry) text() string {
	text, _ := json.Marshal(e) // can't fail
	return string(text)
}

// claim is the part of this replica in the entry of one request.
type claim struct {
	store exchanger
	name  string
	entry requestEntry
}

func (g *Gate) newClaim(key requestKey, r LeaseRequest) claim {
	sum := sha256.Sum256([]byte(key.caller + "\x00" + key.id))
	return claim{g.cfg.Shared, hex.EncodeToString(sum[:16]), requestEntry{Replica: g.shared.Tag(), Permits: r.Permits, TTL: r.TTL}}
}

// swap replaces the entry by next, if it is prev, and returns what it is then.
func (c claim) swap(ctx context.Context, prev, next string, keep time.Duration) (entry string, left time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	return c.store.Swap(ctx, c.name, prev, next, keep)
}

// make makes the entry, if there is none, and returns the one that there is.
func (c claim) make(ctx context.Context) (e requestEntry, left time.Duration, err error) {
	text, left, err := c.swap(ctx, "", c.entry.text(), claimFor)
	if err == nil {
		err = json.Unmarshal([]byte(text), &e)
	}
	return e, left, err
}

// keep renews the entry until done is closed.
func (c claim) keep(ctx context.Context, done <-chan struct{}) {
	ticker := time.NewTicker(claimEvery)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
		}
		if text, _, err := c.swap(ctx, c.entry.text(), c.entry.text(), claimFor); err == nil && text == "" {
			_, _, _ = c.swap(ctx, "", c.entry.text(), claimFor) // it was too late
		}
	}
}

// end replaces the entry of a request that waited: by that of the lease, or by none.
func (c claim) end(ctx context.Context, le Lease, err error) {
	if err != nil {
		_, _, _ = c.swap(ctx, c.entry.text(), "", 0)
		return
	}
	granted := c.entry
	granted.Lease = le.ID
	left := time.Until(le.Expires)
	if text, _, err := c.swap(ctx, c.entry.text(), granted.text(), left); err == nil && text == "" {
		_, _, _ = c.swap(ctx, "", granted.text(), left)
	}
}

// acquireOnce is acquire for a request that has an id, where replicas share the quota.
func (g *Gate) acquireOnce(ctx context.Context, r LeaseRequest, o Options) (Lease, error) {
	key := requestKey{o.Caller, r.ID}
	c := g.newClaim(key, r)
	for {
		waits, ended, closed := g.requestHere(key)
		if ended || closed {
			return g.acquire(ctx, r, o)
		}
		if waits {
			break
		}
		e, left, err := c.make(ctx)
		if err != nil { // nobody but this replica will know
			return g.acquire(ctx, r, o)
		}
		switch {
		case e.Permits != r.Permits || e.TTL != r.TTL:
			return Lease{}, ErrRequestID
		case e.Released:
			return Lease{}, ErrNoLease
		case e.Lease != "":
			return Lease{ID: e.Lease, Expires: time.Now().Add(left)}, nil
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

// requestHere reports whether a request waits at this replica, whether it was granted a
// lease by it, and whether the gate is closed.
func (g *Gate) requestHere(key requestKey) (waits, ended, closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.endLeases(time.Now())
	le := g.leases.byRequest[key]
	if le == nil {
		return false, false, g.closed
	}
	ended = le.state == leaseOut || le.state == leaseOver
	return !ended, ended, g.closed
}

// ended is the entry of a lease that was released, which the shared state is to be told.
type endedRequest struct {
	claim
	left time.Duration
}

// noteReleased has the shared state told that le was released; g.mu is held.
func (g *Gate) noteReleased(le *lease, now time.Time) {
	if g.shared == nil || le.request.ID == "" || len(g.leases.released) >= maxEnded {
		return
	}
	c := g.newClaim(requestKey{le.name, le.request.ID}, le.request)
	c.entry.Lease = le.ID
	g.leases.released = append(g.leases.released, endedRequest{c, le.Expires.Sub(now)})
	select {
	case g.leases.releasedDue <- struct{}{}:
	default:
	}
}

// keepReleased tells the shared state of releases until stop is closed.
func (g *Gate) keepReleased(stop <-chan struct{}) {
	for last := false; ; {
		if last {
			return
		}
		select {
		case <-stop:
			last = true
		case <-g.leases.releasedDue:
		}
		g.mu.Lock()
		released := g.leases.released
		g.leases.released = nil
		g.mu.Unlock()
		for _, e := range released {
			over := e.entry
			over.Released = true
			if _, _, err := e.swap(context.Background(), e.entry.text(), over.text(), e.left); err != nil {
				break // of the rest, only this replica knows
			}
		}
	}
}
