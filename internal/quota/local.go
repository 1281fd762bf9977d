package quota

import "time"

// The methods that Shared needs of its Limiter, which knows the replica's permits and
// decides in the fallback.

// claim takes a permit that was granted elsewhere.
func (l *Limiter) claim(now time.Time) Permit {
	l.advance(now)
	l.last = now
	return l.take()
}

// reserve holds a permit that was granted elsewhere until it may be used. (A token that
// is not there yet counts as none.)
func (l *Limiter) reserve(until time.Time) {
	if l.cfg.Burst == 0 {
		l.held.releases.add(until)
	}
}

// capAt bounds the permits that may be held, unless permits is below 0. It also sets how
// long a permit of a window is held after its answer.
func (l *Limiter) capAt(permits int, hold time.Duration) {
	l.cap = permits
	if l.cfg.Burst == 0 {
		l.held.hold = hold
	}
}

// restart lets l decide from now on: with tokens left, if it has a bucket, and not before
// the end of a pause.
func (l *Limiter) restart(now time.Time, tokens int, paused time.Time) {
	l.supply.restart(now, tokens)
	if paused.After(now) && paused.After(l.pausedUntil) {
		l.pausedUntil, l.probing = paused, true
	}
}

// conform makes the replica's limiter a window or a bucket, and its window as long, as the
// state is. The state decides now. It has a bucket only if all replicas have one.
func (s *Shared) conform(now time.Time) {
	if l := s.local; (l.cfg.Burst > 0) != (s.view.Burst > 0) {
		l.cfg.Burst, l.lent = s.view.Burst, times{}
		l.held = &heldPermits{lostHold: l.cfg.LostHold, inFlight: s.out}
		if s.view.Burst > 0 {
			l.held.releases = times{buf: s.lost.known.all()}
			l.supply = &bucket{heldPermits: l.held, at: now}
		} else {
			l.held.releases = times{buf: s.settled.known.all()}
			l.supply = window{l.held}
		}
	}
	hold := time.Duration(0)
	if s.local.cfg.Burst == 0 {
		hold = s.windowHold()
	}
	if hold != s.local.lentHold {
		s.lending.conform(s.local, hold)
	}
	s.local.capAt(-1, s.windowHold())
}
