package gate

import "time"

// estimate returns how long a newcomer with so many requests ahead of it waits to be
// sent: until permits have come free for these and for its own.
func (g *Gate) estimate(ahead int, now time.Time) time.Duration {
	permits := ahead + 1
	permits += min(permits, g.leases.missing()) // leases take every second permit
	wait := g.limiter.Estimate(now, permits)
	// With as many in flight as Clerk bears, the wait is for their answers.
	if rounds := (g.placesTaken() + permits - 1) / g.concurrency.limit; rounds > 0 {
		wait = max(wait, time.Duration(rounds)*g.limiter.RoundTrip())
	}
	return wait
}

// tooLate returns the kind of error for what can't be had before its deadline.
func (g *Gate) tooLate(now time.Time) error {
	if !g.limiter.State(now).PausedUntil.IsZero() {
		return ErrRateLimited
	}
	return ErrDeadlineTooShort
}

// earlier returns the earlier of two times, of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
