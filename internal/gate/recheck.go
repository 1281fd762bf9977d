package gate

import (
	"time"

	"github.com/clerkgate/clerkgate/internal/fairqueue"
)

// recheckSlice is how many waiters recheckSome looks at while it holds the lock.
const recheckSlice = 512

// recheck compares the deadlines of all waiters with a pause that has made the wait
// longer. It takes place once per pause, in slices.
type recheck struct {
	cause    error     // the 429; nil if another replica drew it
	underWay bool      //
	until    time.Time // the end of the pause
}

// recheckPause begins a recheck if the key is paused for longer than at the last one.
func (g *Gate) recheckPause(now time.Time, cause error) {
	if until := g.limiter.State(now).PausedUntil; until.After(g.recheck.until) {
		g.recheck.until = until
		g.beginRecheck(now, cause)
	}
}

// beginRecheck begins to refuse the waiters whose deadlines are too early now: those
// outside the queue at once, and the others in slices, by recheckSome.
func (g *Gate) beginRecheck(now time.Time, cause error) {
	g.recheck.cause, g.recheck.underWay = cause, true
	g.queue.BeginScan()
	for _, w := range g.outsideQueue() {
		first := -1 // the requests ahead of w in the line where these are fewest
		for _, x := range w.waiters {
			if ahead := g.queue.AheadAtFront(x.call.line, w.item.Kind); first < 0 || ahead < first {
				first = ahead
			}
		}
		g.refuseLate(w, now.Add(g.estimate(max(0, first), now)), now)
	}
	g.poke()
}

// recheckSome goes on with a recheck. It reports whether there is more to do.
func (g *Gate) recheckSome() (more bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.recheck.underWay {
		return false
	}
	now := time.Now()
	lastAhead, eta := -1, time.Time{} // of the item before, which often has as many ahead
	g.recheck.underWay = g.queue.Scan(recheckSlice, func(it *fairqueue.Item, ahead int) {
		if ahead != lastAhead {
			lastAhead, eta = ahead, now.Add(g.estimate(ahead, now))
		}
		for _, w := range wantsOf(it) {
			g.refuseLate(w, eta, now)
		}
	})
	return g.recheck.underWay
}

// refuseLate refuses the waiters of w whose deadlines come before its answer, if it is
// sent at eta.
func (g *Gate) refuseLate(w *want, eta, now time.Time) {
	eta = eta.Add(g.limiter.RoundTrip())
	g.refuseBefore(w, eta, &Error{Kind: g.tooLate(now), RetryAfter: eta.Sub(now), Err: g.recheck.cause})
}
