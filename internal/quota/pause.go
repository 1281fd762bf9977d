package quota

import "time"

// The bounds of a pause after a 429.
const (
	minPause = time.Second     // a shorter Retry-After counts as this long
	maxPause = 5 * time.Minute // a longer Retry-After counts as this long
)

// learned429s is what a Limiter has learned from 429s.
type learned429s struct {
	learned   float64 // permits per window, at most the configured number
	learnedAt time.Time
	good      float64   // regained soon: the limit before 429s that came while little was sent
	goodAt    time.Time // from when the next step towards it counts

	pausedUntil time.Time
	pausedSeq   uint64        // the last permit that had been taken when the last 429 became known
	guess       time.Duration // the next pause if Retry-After is missing
	penalty     time.Duration // added to the pause of repeated 429s
	limitedAt   time.Time     // the last 429
	probing     bool          // after a pause, until one request has been answered
	probeOut    bool          // that request is under way
}

// Probing reports whether the next permit is the one that goes before the rest after a
// pause.
func (l *Limiter) Probing() bool { return l.probing }

// grow raises a limit that 429s have lowered: by half of the difference to good in each
// window without a 429 and, after six such windows, by a hundredth of the quota every
// three windows.
func (p *learned429s) grow(now time.Time, cfg Config) {
	full := float64(cfg.lessReserve(cfg.Limit))
	for p.learned < p.good && now.Sub(p.goodAt) >= cfg.Window {
		p.goodAt = p.goodAt.Add(cfg.Window)
		p.learned = min(p.good, p.learned+max(full/100, (p.good-p.learned)/2))
	}
	for p.learned < full && now.Sub(p.learnedAt) >= 3*cfg.Window {
		p.learnedAt = p.learnedAt.Add(3 * cfg.Window)
		p.learned = min(full, p.learned+full/100)
	}
}

// Limited settles a permit whose request got a 429. The whole key is paused until
// retryAfter has passed (0: the answer had none). Then one request goes before the rest.
func (l *Limiter) Limited(p Permit, now time.Time, retryAfter time.Duration, h *Headers) {
	l.advance(now)
	l.held.answered(now)
	l.observe(p, now, h)
	if p.seq > l.pausedSeq {
		retryAfter = l.limitedAgain(now, retryAfter)
	}
	l.limitedAt = now
	l.learnedAt = now.Add(3 * l.cfg.Window) // with the three of grow: six windows of patience
	l.goodAt = now
	l.supply.atMost(0)
	l.probing = true
	if retryAfter <= 0 {
		return // the event has its pause
	}
	if until := now.Add(min(maxPause, max(minPause, retryAfter)) + l.penalty); until.After(l.pausedUntil) {
		l.pausedUntil = until
	}
}

// limitedAgain begins a new event. All requests that left before its first 429 was known
// belong to it, and it lowers the limit at most once, however many of them are refused.
// It returns the length of the pause.
func (l *Limiter) limitedAgain(now time.Time, retryAfter time.Duration) time.Duration {
	if retryAfter <= 0 {
		l.guess = min(maxPause, max(minPause, 2*l.guess))
		retryAfter = l.guess
	}
	if l.limitedAt.IsZero() || now.Sub(l.limitedAt) > l.cfg.Window {
		l.lower()
		l.penalty = 0
	} else {
		l.penalty = min(maxPause, max(l.cfg.Window/20, 2*l.penalty))
	}
	l.pausedSeq = l.seq
	l.probeOut = false
	return retryAfter
}

// lower sets the limit to 95 % of what was accepted in the last window, but to no less
// than half of what it was.
//
// A 429 that came while next to nothing was sent shows little about the limit: its cause
// was a burst of another user of the key. Then the limit is lowered by what was sent in
// the last window, and soon raised again.
func (l *Limiter) lower() {
	waiting := 1 + l.supply.waiting() // with the request itself
	sent := float64(l.accepted.len() + waiting)
	lately := float64(l.accepted.len() - l.accepted.search(l.now.Add(-l.cfg.Window/20)) + waiting)
	if sent < l.learned/4 && lately <= max(1, l.learned/100) {
		l.good = max(l.good, l.learned)
		l.learned = max(1, l.learned-max(sent, float64(l.cfg.lessReserve(l.cfg.Limit))/100))
		return
	}
	l.good = 0
	l.learned = max(1, l.learned/2, min(l.learned, 0.95*float64(l.accepted.len())))
}

// probeOver lets another request go before the rest if this one has shown nothing.
func (l *Limiter) probeOver(p Permit) {
	if p.seq > l.pausedSeq || !l.probing {
		l.probeOut = false
	}
}
