package gate

import (
	"time"

	"github.com/clerkgate/clerkgate/internal/fairqueue"
)

// recheckSlice is how many waiters are compared with a pause at once, under the lock.
const recheckSlice = 512

// recheck is a comparison of all that waits with a pause that has made the wait longer.
// It takes place once per pause, in slices.
type recheck struct {
	cause error // the 429; nil if it was another replica's
	under bool  // it is under way
}

// recheckPause refuses those who can't wait for the end of a pause, unless it is one
// that they were compared with.
func (g *Gate) recheckPause(now time.Time, cause error) {
	if until := g.limiter.State(now).PausedUntil; until.After(g.pause) {
		g.pause = until
		g.beginRecheck(now, cause)
	}
}

// beginRecheck refuses those whose deadlines their places in the queue no longer
// meet: at once what is put off until its next try, and the rest in slices of Run's.
func (g *Gate) beginRecheck(now time.Time, cause error) {
	g.recheck = recheck{cause: cause, under: true}
	g.queue.BeginScan()
	for _, w := range g.apart() {
		first := -1 // the least of what goes before it in the lines of those who wait
		for _, x := range w.waiters {
			if ahead := g.queue.AheadAtFront(x.pending.line, w.item.Kind); first < 0 || ahead < first {
				first = ahead
			}
		}
		g.refuseLate(w, now.Add(g.estimate(max(0, first), now)), now)
	}
	g.poke()
}

// recheckSome goes on with a recheck. It returns whether there is more to be done.
func (g *Gate) recheckSome() (more bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.recheck.under {
		return false
	}
	now := time.Now()
	at, eta := -1, time.Time{} // of the last one: neighbours have the same
	g.recheck.under = g.queue.Scan(recheckSlice, func(it *fairqueue.Item, ahead int) {
		if ahead != at {
			at, eta = ahead, now.Add(g.estimate(ahead, now))
		}
		for _, w := range wantsOf(it) {
			g.refuseLate(w, eta, now)
		}
	})
	return g.recheck.under
}

// refuseLate answers those who wait for w and can't wait until it is answered, if it
// is sent at eta.
func (g *Gate) refuseLate(w *want, eta, now time.Time) {
	kind := ErrDeadlineTooShort
	if !g.limiter.State(now).PausedUntil.IsZero() {
		kind = ErrRateLimited
	}
	eta = eta.Add(g.limiter.RoundTrip())
	g.refuseBefore(w, eta, &Error{Kind: kind, RetryAfter: eta.Sub(now), Err: g.recheck.cause})
}
