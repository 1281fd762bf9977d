package quota

import "time"

// The bounds of a pause after a 429.
const (
	minPause = time.Second     // the least, whatever Retry-After says
	maxPause = 5 * time.Minute // the longest that a Retry-After is believed
)

// Permit is the right to send one request. It must be settled exactly once: by
// GiveBack, Answered, Limited or Lost.
type Permit struct {
	seq, released uint64

	// Of a Shared's permits: the era of 429s in which it was granted, and how many
	// permits of all replicas had come free by then.
	era, seen int64
}

// Headers is what the X-RateLimit headers of an answer say, as far as it counts.
type Headers struct {
	Remaining int           // requests left in the window
	Reset     time.Duration // time until the window resets
}

// Limiter hands out permits for requests to Clerk, so that they never exceed
// the quota. It reads no clock: every method takes the time, which must not go
// back. It is not safe for concurrent use.
type Limiter struct {
	cfg    Config
	strict *semaphore // nil with a bucket
	bucket *bucket    // nil with a strict window
	seq    uint64     // of the last permit taken

	roundTrip time.Duration // smoothed, for estimates

	// Pacing: when the last request was to leave by the schedule, and until when
	// the schedule is even at any rate.
	last     time.Time
	slowTill time.Time

	// What 429s have taught.
	learned     float64 // permits per window, at most the configured share
	learnedAt   time.Time
	good        float64       // regained soon: the limit before 429s that came while little was sent
	goodAt      time.Time     // from when the next step towards it counts
	accepted    times         // answers other than 429 in the last window
	lent        times         // when permits come free that are lent, or were and got no answer
	earlier     times         // when permits come free that are held back for what may have been spent before
	lentHold    time.Duration // how long these are held once no request is under way; 0 with a bucket
	pausedUntil time.Time
	pausedSeq   uint64        // permits up to this one left before the last 429 was known
	guess       time.Duration // the next pause where Retry-After is missing
	penalty     time.Duration // what is added to the pause of repeated 429s
	limitedAt   time.Time     // the last 429
	probing     bool          // after a pause: until one request has been answered
	probeOut    bool          // ... and that request is under way

	// What headers have said, until the window resets.
	headerSeq   uint64
	headerLimit int // what may be held: our own requests, all of which may count, and what remains
	headerUntil time.Time

	// Beside others that share the quota: how many may be held; -1: as many as
	// the quota allows.
	cap int

	at time.Time // the latest time given
}

// New makes a Limiter whose quota is unspent at now.
func New(cfg Config, now time.Time) *Limiter {
	cfg = cfg.withDefaults()
	l := &Limiter{cfg: cfg, cap: -1, learned: float64(cfg.share(cfg.Limit)), learnedAt: now}
	if cfg.Burst > 0 {
		l.bucket = &bucket{
			level:    float64(cfg.share(cfg.Burst)),
			at:       now,
			lostHold: cfg.LostHold,
		}
	} else {
		l.strict = &semaphore{hold: stretch(cfg.Window), lostHold: cfg.LostHold}
		l.lentHold = l.strict.hold
	}
	l.advance(now)
	l.firstWindow(now)
	return l
}

// firstWindow holds back what an earlier user of the key may have spent.
func (l *Limiter) firstWindow(now time.Time) {
	switch l.cfg.FirstWindow {
	case WaitWindow:
		if l.bucket != nil {
			l.bucket.level = -float64(l.limit()) // refilled to 0 after a window
			return
		}
		for range l.limit() {
			l.holdBack(now.Add(l.strict.hold))
		}
	case SlowWindow:
		if l.bucket != nil {
			l.bucket.level /= 10
			return
		}
		held := l.limit() - max(1, l.limit()/10)
		for i := range held {
			l.holdBack(now.Add(l.cfg.Window * time.Duration(i+1) / time.Duration(held)))
		}
	}
}

// holdBack holds a permit until a time for what may have been spent before.
func (l *Limiter) holdBack(until time.Time) {
	l.strict.releases.add(until)
	l.earlier.add(until)
}

// Config returns the quota as configured, with its defaults filled in.
func (l *Limiter) Config() Config { return l.cfg }

func (l *Limiter) limit() int {
	n := max(1, int(l.learned))
	if l.at.Before(l.headerUntil) {
		n = max(0, min(n, l.headerLimit))
	}
	if l.cap >= 0 {
		n = min(n, l.cap)
	}
	return n
}

// burst is the size that the bucket may have now.
func (l *Limiter) burst() int {
	n := l.cfg.share(l.cfg.Burst)
	if l.cap >= 0 {
		n = max(1, min(n, n*l.cap/l.cfg.share(l.cfg.Limit)))
	}
	return n
}

// even is the time between sends that spends the window evenly.
func (l *Limiter) even() time.Duration { return l.cfg.Window / time.Duration(max(1, l.limit())) }

// steady is the time between sends where they are spaced whatever is free.
func (l *Limiter) steady() time.Duration {
	if l.cfg.Pace != PaceAlways {
		return l.even()
	}
	// Counters that estimate a sliding window from two counts take the last one
	// for evenly spread; sends that are one early or late must fit, too.
	n := l.limit()
	return l.cfg.Window / time.Duration(max(1, n-3-n/100))
}

func (l *Limiter) advance(now time.Time) {
	l.at = now
	l.grow(now)
	l.accepted.dropUntil(now.Add(-l.cfg.Window))
	l.lent.dropUntil(now)
	l.earlier.dropUntil(now)
	if l.strict != nil {
		l.strict.advance(now)
		return
	}
	l.bucket.rate = float64(l.limit()) / stretch(l.cfg.Window).Seconds()
	l.bucket.advance(now, l.burst())
}

// grow raises a limit that 429s have lowered: by half of what is missing of good in
// each window without one, and beyond, once six windows have passed without one,
// by a hundredth of the quota every three windows.
func (l *Limiter) grow(now time.Time) {
	full := float64(l.cfg.share(l.cfg.Limit))
	for l.learned < l.good && now.Sub(l.goodAt) >= l.cfg.Window {
		l.goodAt = l.goodAt.Add(l.cfg.Window)
		l.learned = min(l.good, l.learned+max(full/100, (l.good-l.learned)/2))
	}
	for l.learned < full && now.Sub(l.learnedAt) >= 3*l.cfg.Window {
		l.learnedAt = l.learnedAt.Add(3 * l.cfg.Window)
		l.learned = min(full, l.learned+full/100)
	}
}

// usable is how many permits may be held now that are neither lent nor held back.
func (l *Limiter) usable() int { return max(0, l.limit()-l.lent.len()-l.earlier.len()) }

func (l *Limiter) free() int {
	if l.strict != nil {
		return l.strict.free(l.limit())
	}
	return l.bucket.wholeTokens()
}

// next is when the schedule lets the next request go. While over half of what is
// usable is free that is at once. From there on it is so spaced that what is
// free, and what comes free meanwhile, is made to last evenly: what is spent at
// once comes back at once, and whoever comes in between waits.
//
// The schedule is kept from one request to the next: spacing from the moment of
// the send would add up the delays of timers.
func (l *Limiter) next(now time.Time) time.Time {
	switch {
	case l.cfg.Pace == PaceAlways, now.Before(l.slowTill):
		return l.last.Add(l.steady())
	case l.strict == nil, 2*l.free() > l.usable():
		return now // the refill spaces what a bucket lets through
	}
	return l.last.Add(l.strict.lasting(l.last, l.free(), l.lent.len()))
}

// lag is how far behind the schedule requests may be, and still keep to it.
func (l *Limiter) lag() time.Duration {
	if l.cfg.Pace == PaceAlways {
		return l.even() // no more than one is made up for, so that few come together
	}
	return l.cfg.Window / 20
}

// Take takes a permit if one may be used now. Otherwise it says when to ask
// again; the zero time means: once another permit has been settled.
func (l *Limiter) Take(now time.Time) (p Permit, ok bool, again time.Time) {
	l.advance(now)
	if again, blocked := l.blocked(now); blocked {
		return Permit{}, false, again
	}
	l.last = l.next(now)
	if l.last.Before(now.Add(-l.lag())) { // after a lull
		l.last = now
	}

	if l.probing {
		l.probeOut = true
	}
	return l.take(), true, time.Time{}
}

// take takes a permit, whether one is free or not.
func (l *Limiter) take() Permit {
	l.seq++
	if l.strict == nil {
		l.bucket.take()
		return Permit{seq: l.seq}
	}
	l.strict.take()
	return Permit{seq: l.seq, released: l.strict.released}
}

// blocked says whether no permit may be taken at now, and when to ask again.
func (l *Limiter) blocked(now time.Time) (again time.Time, blocked bool) {
	switch {
	case now.Before(l.pausedUntil):
		return l.pausedUntil, true
	case l.probing && l.probeOut:
		return time.Time{}, true
	case l.free() <= 0:
		again = l.nextFree(now)
		if now.Before(l.headerUntil) && l.strict.free(int(l.learned)) > 0 && (again.IsZero() || l.headerUntil.Before(again)) {
			again = l.headerUntil
		}
		return again, true
	}
	if next := l.next(now); now.Before(next) {
		return next, true
	}
	return time.Time{}, false
}

// nextFree is when the next permit comes free by itself; zero if only an answer can free one.
func (l *Limiter) nextFree(now time.Time) time.Time {
	if l.strict == nil {
		b := l.bucket
		if float64(l.burst()-b.unanswered) < 1 {
			if b.gone.len() > 0 {
				return b.gone.at(0)
			}
			return time.Time{}
		}
		return b.freeAt(now, 1)
	}
	i := l.strict.held() - l.limit() // a lowered limit swallows the first releases
	if i >= l.strict.releases.len() {
		return time.Time{}
	}
	return l.strict.releases.at(i)
}

// GiveBack returns a permit whose request did not leave.
func (l *Limiter) GiveBack(p Permit, now time.Time) {
	l.advance(now)
	if l.strict != nil {
		l.strict.giveBack()
	} else {
		l.bucket.giveBack()
	}
	l.probeOver(p)
}

// Answered settles a permit whose request got an answer other than 429, sent at
// sent (zero if that is not known), with h where the answer had all three headers.
// at is when the answer began to come, from which the window counts; it may lie
// before now, where reading it took time.
func (l *Limiter) Answered(p Permit, sent, at, now time.Time, h *Headers) {
	l.advance(now)
	l.settle(at)
	l.accepted.add(now)
	l.observe(p, now, h)
	if !sent.IsZero() {
		l.measure(at.Sub(sent))
	}
	// Answers to what left before the pause say nothing of what comes after it.
	if l.probing && p.seq > l.pausedSeq {
		l.probing = false
		l.guess = 0
		l.slowTill = now.Add(l.cfg.Window)
		l.last = now
	}
	l.probeOver(p)
}

// Probing says whether the next permit is the one that goes before the rest
// after a pause.
func (l *Limiter) Probing() bool { return l.probing }

// Limited settles a permit whose request got a 429. The whole key is held until
// retryAfter has passed (0: none was given), then one request goes before the rest.
func (l *Limiter) Limited(p Permit, now time.Time, retryAfter time.Duration, h *Headers) {
	l.advance(now)
	l.settle(now)
	l.observe(p, now, h)

	// Requests that left before the first 429 was known are of the same event, which
	// makes one step, however many of them are refused.
	if p.seq > l.pausedSeq {
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
	}
	l.limitedAt = now
	l.learnedAt = now.Add(3 * l.cfg.Window) // with grow's three: six windows of patience
	l.goodAt = now
	if l.bucket != nil {
		l.bucket.level = min(l.bucket.level, 0)
	}
	l.probing = true
	if retryAfter <= 0 {
		return // the event's pause will do
	}
	if until := now.Add(min(maxPause, max(minPause, retryAfter)) + l.penalty); until.After(l.pausedUntil) {
		l.pausedUntil = until
	}
}

// lower sets the limit to 95 % of what was accepted in the last window, but to
// no less than half of what it was.
//
// A 429 that came while next to nothing was being sent says little about the limit:
// somebody else's burst has met a quiet server. Then the limit is lowered by what
// was sent in the last window, and what it was is regained soon.
func (l *Limiter) lower() {
	waiting := 1 // the request itself
	if l.strict != nil {
		waiting += l.strict.inFlight
	} else {
		waiting += l.bucket.unanswered
	}
	sent := float64(l.accepted.len() + waiting)
	lately := float64(l.accepted.len() - l.accepted.search(l.at.Add(-l.cfg.Window/20)) + waiting)
	if sent < l.learned/4 && lately <= max(1, l.learned/100) {
		l.good = max(l.good, l.learned)
		l.learned = max(1, l.learned-max(sent, float64(l.cfg.share(l.cfg.Limit))/100))
		return
	}
	l.good = 0
	l.learned = max(1, l.learned/2, min(l.learned, 0.95*float64(l.accepted.len())))
}

// Lost settles a permit whose request was given up without an answer. It may
// still arrive, so it stays held for LostHold and a window.
func (l *Limiter) Lost(p Permit, now time.Time) {
	l.advance(now)
	if l.strict != nil {
		l.strict.lost(now)
	} else {
		l.bucket.lost(now)
	}
	l.probeOver(p)
}

// probeOver frees the probe's place, so that another may go if this one told nothing.
func (l *Limiter) probeOver(p Permit) {
	if p.seq > l.pausedSeq || !l.probing {
		l.probeOut = false
	}
}

func (l *Limiter) settle(at time.Time) {
	if l.strict != nil {
		l.strict.answered(at)
	} else {
		l.bucket.answered()
	}
}

// observe takes in the headers of an answer: no more may be held than our own
// requests, all of which Clerk may have counted, and what remains. They only ever
// tighten: a sole user of the key holds a permit for whatever Clerk has counted,
// so that this comes to the quota at least.
func (l *Limiter) observe(p Permit, now time.Time, h *Headers) {
	if h == nil || p.seq < l.headerSeq {
		return
	}
	l.headerSeq = p.seq
	if l.bucket != nil {
		l.bucket.level = min(l.bucket.level, float64(h.Remaining))
		return
	}
	l.headerLimit = h.Remaining + l.strict.held() + int(l.strict.released-p.released)
	l.headerUntil = now.Add(min(maxPause, max(0, h.Reset)))
}

// State is how the quota stands.
type State struct {
	Limit       int       // permits per window now: the configured share, or what 429s have taught
	Capacity    int       // the most that could ever be available at once: Limit, or the bucket's size
	Available   int       // requests that could be sent at once
	Held        int       // permits held; with a bucket those of unanswered requests
	PausedUntil time.Time // zero if not paused
}

// State tells how the quota stands at now.
func (l *Limiter) State(now time.Time) State {
	l.advance(now)
	s := State{Limit: l.limit(), Capacity: l.limit(), Available: max(0, l.free())}
	if l.strict != nil {
		s.Held = l.strict.held()
	} else {
		s.Capacity = l.burst()
		s.Held = l.bucket.unanswered
	}
	if now.Before(l.pausedUntil) {
		s.PausedUntil = l.pausedUntil
		s.Available = 0
	}
	return s
}

// MostlyFree says whether over half of what is usable of the quota is free at now.
func (l *Limiter) MostlyFree(now time.Time) bool {
	l.advance(now)
	if l.strict != nil {
		return 2*l.free() > l.usable()
	}
	return 2*l.free() > l.burst()
}
