package quota

import "time"

// measure records how long a request took.
func (l *Limiter) measure(took time.Duration) {
	if l.roundTrip == 0 {
		l.roundTrip = took
	}
	l.roundTrip += (took - l.roundTrip) / 8
}

// RoundTrip returns how long a request usually takes: a moving average, 0 before the first
// answer.
func (l *Limiter) RoundTrip() time.Duration { return l.roundTrip }

// Estimate returns how long it takes from now until the k-th further permit, k from 1,
// may be used, if the requests under way are answered as usual.
func (l *Limiter) Estimate(now time.Time, k int) time.Duration {
	l.advance(now)
	at := l.supply.freeAt(now, k, l.capacity(), l.roundTrip)
	if start := l.pausedUntil; start.After(now) {
		// After a pause permits come evenly, after one probe.
		if slow := start.Add(time.Duration(k-1) * l.even()); slow.After(at) {
			at = slow
		}
	}
	if paced := l.paced(now, k); paced.After(at) {
		at = paced
	}
	return max(0, at.Sub(now))
}
