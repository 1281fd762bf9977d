package quota

import "time"

// even returns the time between sends that spends the window evenly.
func (l *Limiter) even() time.Duration { return l.cfg.Window / time.Duration(max(1, l.limit())) }

// steady returns the time between sends while they are spaced however much is free.
func (l *Limiter) steady() time.Duration {
	if l.cfg.Pace != PaceAlways {
		return l.even()
	}
	// Counters that estimate a sliding window from two counts assume that the requests of
	// the older one were evenly spread. One request too early or too late must fit, too.
	n := l.limit()
	return l.cfg.Window / time.Duration(max(1, n-3-n/100))
}

// next returns when the schedule lets the next request go. While over half of the usable
// permits are free, that is now. From then on requests are spaced so that the permits
// that are free, and those that come free meanwhile, last evenly: permits that are spent
// at once come back at once, and requests that come in between wait.
//
// The schedule continues from one request to the next: spacing from the moment of each
// send would add up the delays of timers.
func (l *Limiter) next(now time.Time) time.Time {
	if l.cfg.Pace == PaceAlways || now.Before(l.slowTill) {
		return l.last.Add(l.steady())
	}
	if 2*l.free() > l.usable() {
		return now
	}
	if d, spaced := l.supply.spacing(l.last, l.free(), l.lent.len()); spaced {
		return l.last.Add(d)
	}
	return now
}

// lag returns how far behind the schedule requests may be and still keep to it.
func (l *Limiter) lag() time.Duration {
	if l.cfg.Pace == PaceAlways {
		return l.even() // at most one is made up for, so that few come together
	}
	return l.cfg.Window / 20
}

// paced returns when the schedule lets the k-th further request go.
func (l *Limiter) paced(now time.Time, k int) time.Time {
	next := l.next(now)
	if next.Before(now) {
		next = now
	}
	if l.cfg.Pace == PaceAlways || now.Before(l.slowTill) {
		return next.Add(time.Duration(k-1) * l.steady())
	}
	free := max(0, l.free())
	atOnce := max(0, free-l.usable()/2)
	apart, spaced := l.supply.spacing(next, free-atOnce, l.lent.len())
	switch {
	case !spaced:
		return next
	case k <= atOnce:
		return now
	}
	at := next.Add(time.Duration(k-atOnce-1) * apart)
	if l.lent.len() > 0 && at.After(l.lent.at(0)) { // from there on there are more permits
		back := l.lent.at(0)
		if back.Before(next) {
			back = next
		}
		at = back.Add(time.Duration(int64(at.Sub(back)) / int64(apart) * int64(l.even())))
	}
	return at
}
