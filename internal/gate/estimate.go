package gate

import (
	"math"
	"time"
)

// estimate returns how long a newcomer with so many requests ahead of it waits to be
// sent: until permits have come free for these and for its own.
func (g *Gate) estimate(ahead int, now time.Time) time.Duration {
	permits := ahead + 1
	permits += min(permits, g.leases.missing()) // leases take every second permit
	wait := g.limiter.Estimate(now, permits)
	// With as many in flight as Clerk accepts, the wait is for their answers.
	if rounds := (g.placesTaken() + permits - 1) / g.concurrency.limit; rounds > 0 {
		wait = max(wait, time.Duration(rounds)*g.limiter.RoundTrip())
	}
	return wait
}

// leaseWait returns the shortest time in which a lease can gather the permits that it
// still needs, after ahead requests, and after leases that still need others permits. It
// fails if the lease is larger than the limit allows now.
func (g *Gate) leaseWait(le *lease, ahead, others int, now time.Time) (time.Duration, error) {
	if le.request.Permits > g.limiter.MostLent(now) {
		return 0, &Error{Kind: g.tooLate(now), RetryAfter: 3 * g.limiter.Config().Window}
	}
	misses := others + le.request.Permits - len(le.permits)
	waiting := 0
	for _, p := range priorities {
		waiting += g.queue.Requests(p)
	}
	before := max(ahead, min(waiting, misses)) // they take turns
	wait := g.limiter.Estimate(now, before+misses)
	if g.limiter.Config().Burst == 0 {
		wait = time.Duration(float64(wait) * g.gatheringSlows(misses, now))
	}
	return max(wait, g.limiter.LendAfter(now, le.request.Permits)), nil
}

// gatheringSlows returns the factor by which it takes longer to gather n permits of a
// window than it takes for n to come free. Gathered permits are not used again, so once k
// of L are gathered, L-k come free per window: it takes ln(L/(L-n)) windows to gather n.
func (g *Gate) gatheringSlows(n int, now time.Time) float64 {
	round := float64(max(1, g.limiter.State(now).Limit-g.leased()-g.leases.gathered()))
	part := min(0.95, float64(n)/round)
	return -math.Log1p(-part) / part
}

// tooLate returns the kind of error for what can't be had before its deadline.
func (g *Gate) tooLate(now time.Time) error {
	if !g.limiter.State(now).PausedUntil.IsZero() {
		return ErrRateLimited
	}
	return ErrDeadlineTooShort
}

// placesTaken returns how many places in flight are taken.
func (g *Gate) placesTaken() int { return len(g.requests) - g.places.overtaken }

// earlier returns the earlier of two times, of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
