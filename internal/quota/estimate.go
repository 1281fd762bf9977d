package quota

import "time"

func (l *Limiter) measure(rtt time.Duration) {
	if l.roundTrip == 0 {
		l.roundTrip = rtt
	}
	l.roundTrip += (rtt - l.roundTrip) / 8
}

// RoundTrip is what a request usually takes: a moving average, 0 before the first answer.
func (l *Limiter) RoundTrip() time.Duration { return l.roundTrip }

// Estimate is how long it takes from now until the k-th further permit, k from
// 1, may be used, if what is under way is answered as usual.
func (l *Limiter) Estimate(now time.Time, k int) time.Duration {
	l.advance(now)
	var at time.Time
	if l.strict != nil {
		at = l.strict.freeAt(now, k, l.limit(), l.roundTrip)
	} else {
		at = l.bucket.freeAt(now, k)
	}
	start := l.pausedUntil
	if start.After(now) {
		// After a pause permits come evenly, behind one probe.
		even := l.even()
		if slow := start.Add(time.Duration(k-1) * even); slow.After(at) {
			at = slow
		}
	}
	if paced := l.paced(now, k); paced.After(at) {
		at = paced
	}
	return max(0, at.Sub(now))
}

// paced is when the schedule lets the k-th further request go.
func (l *Limiter) paced(now time.Time, k int) time.Time {
	next := l.next(now)
	if next.Before(now) {
		next = now
	}
	more := time.Duration(k - 1)
	switch {
	case l.cfg.Pace == PaceAlways, now.Before(l.slowTill):
		return next.Add(more * l.steady())
	case l.strict == nil:
		return next
	}
	free := max(0, l.free())
	atOnce := max(0, free-l.usable()/2)
	if k <= atOnce {
		return now
	}
	apart := l.strict.lasting(next, free-atOnce, l.lent.len())
	at := next.Add(time.Duration(k-atOnce-1) * apart)
	if l.lent.len() > 0 && at.After(l.lent.at(0)) { // from there on there are more
		back := l.lent.at(0)
		if back.Before(next) {
			back = next
		}
		at = back.Add(time.Duration(int64(at.Sub(back)) / int64(apart) * int64(l.even())))
	}
	return at
}
