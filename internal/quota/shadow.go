package quota

import "time"

// What Shared needs of the Limiter that knows its permits and decides in the
// fallback.

// claim takes a permit that was granted elsewhere.
func (l *Limiter) claim(now time.Time) Permit {
	l.advance(now)
	l.last = now
	return l.take()
}

// reserve holds a permit that was granted elsewhere until it may be used. (A token
// that is not there yet is as good as none.)
func (l *Limiter) reserve(until time.Time) {
	if l.strict != nil {
		l.strict.releases.add(until)
	}
}

// capAt bounds what may be held, and sets how long after its answer each permit is.
func (l *Limiter) capAt(permits int, hold time.Duration) {
	l.cap = permits
	if l.strict != nil {
		l.strict.hold = hold
	}
}

// uncap takes the bound away.
func (l *Limiter) uncap() { l.capAt(-1, stretch(l.cfg.Window)) }

// restart lets l decide from now on, with tokens left, if it has a bucket, and not
// before paused.
func (l *Limiter) restart(now time.Time, tokens int, paused time.Time) {
	if l.bucket != nil {
		l.bucket.level, l.bucket.at = float64(tokens), now
	}
	if paused.After(now) && paused.After(l.pausedUntil) {
		l.pausedUntil, l.probing = paused, true
	}
}

// releases are when settled permits come free by themselves.
func (l *Limiter) releases() []time.Time {
	if l.strict == nil {
		return l.bucket.gone.all()
	}
	return l.strict.releases.all()
}
