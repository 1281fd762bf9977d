package gate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

const (
	claimFor   = 3 * time.Second // how long an entry lasts unless it is renewed
	claimEvery = time.Second     // how often it is renewed
	// maxEnded is how many releases may wait to be sent to the shared state.
	maxEnded = 1000
)

// requestEntry is the entry of a request id in the shared state. Lease is empty while the
// request waits.
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

// claim is this replica's access to the entry of one request id.
type claim struct {
	store exchanger
	name  string
	entry requestEntry
}

// newClaim returns the claim for a request, with the entry of a request that waits here.
func (g *Gate) newClaim(key requestKey, r LeaseRequest) claim {
	sum := sha256.Sum256([]byte(key.caller + "\x00" + key.id))
	return claim{g.cfg.Shared, hex.EncodeToString(sum[:16]), requestEntry{Replica: g.shared.Tag(), Permits: r.Permits, TTL: r.TTL}}
}

// swap sets the entry to next if it is prev, and returns the resulting entry.
func (c claim) swap(ctx context.Context, prev, next string, keep time.Duration) (entry string, left time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	return c.store.Swap(ctx, c.name, prev, next, keep)
}

// make creates the entry if there is none, and returns the entry.
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
			_, _, _ = c.swap(ctx, "", c.entry.text(), claimFor) // it had expired
		}
	}
}

// end replaces the entry of a request that has waited with that of its lease, or deletes
// it.
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

// endedRequest is the entry of a released lease, for the shared state.
type endedRequest struct {
	claim
	left time.Duration
}

// noteReleased queues the release of le for the shared state.
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

// keepReleased sends releases to the shared state until stop is closed.
func (g *Gate) keepReleased(stop <-chan struct{}) {
	for last := false; !last; {
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
				break // only this replica will know the others
			}
		}
	}
}
