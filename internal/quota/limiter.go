package quota

import "time"

// Permit is the right to send one request. It must be settled exactly once: by
// GiveBack, Answered, Limited or Lost.
type Permit struct {
	seq, released uint64

	// Of a Shared's permits: the era of 429s in which it was granted, and how many
	// permits of all replicas had come free by then.
	era, seen int64
}

// Headers holds the X-RateLimit headers of an answer, as far as they count.
type Headers struct {
	Remaining int           // requests left in the window
	Reset     time.Duration // time until the window resets
}

// Limiter hands out permits for requests to Clerk, so that they never exceed the quota.
// It reads no clock: every method takes the time, which must not go back. It is not safe
// for concurrent use.
type Limiter struct {
	cfg    Config
	held   *heldPermits // the permits in use
	supply supply       // the permits that are free: a window or a bucket
	seq    uint64       // of the last permit taken

	roundTrip time.Duration // smoothed, for estimates

	// Pacing: when the last request was to leave by the schedule, and until when the
	// schedule is even in any case.
	last     time.Time
	slowTill time.Time

	learned429s

	accepted times         // answers other than 429 in the last window
	lent     times         // when permits come free that are lent, or were and got no answer
	lentHold time.Duration // how long these are held once no request is under way; 0 with a bucket
	earlier  times         // when permits come free that are held back for what may have been spent before

	// What headers have shown, until the window resets.
	headerSeq   uint64
	headerLimit int // what may be held: our own requests, all of which may count, and what remains
	headerUntil time.Time

	cap int       // what may be held beside others that share the quota; -1: as much as the quota allows
	now time.Time // the latest time that a method got
}

// New returns a Limiter whose quota is unspent at now, except for what cfg.FirstWindow
// holds back.
func New(cfg Config, now time.Time) *Limiter {
	cfg = cfg.withDefaults()
	l := &Limiter{cfg: cfg, cap: -1}
	l.learned, l.learnedAt = float64(cfg.lessReserve(cfg.Limit)), now
	if cfg.Burst > 0 {
		l.held = &heldPermits{lostHold: cfg.LostHold}
		l.supply = &bucket{heldPermits: l.held, level: float64(cfg.lessReserve(cfg.Burst)), at: now}
	} else {
		l.held = &heldPermits{hold: stretch(cfg.Window), lostHold: cfg.LostHold}
		l.supply = window{l.held}
	}
	l.lentHold = l.held.hold
	l.advance(now)
	for _, until := range l.supply.begin(cfg.FirstWindow, l.limit(), cfg.Window, now) {
		l.earlier.add(until)
	}
	return l
}

// Config returns the quota as configured, with its defaults filled in.
func (l *Limiter) Config() Config { return l.cfg }

// limit returns the permits per window that are allowed now.
func (l *Limiter) limit() int {
	n := max(1, int(l.learned))
	if l.now.Before(l.headerUntil) {
		n = max(0, min(n, l.headerLimit))
	}
	if l.cap >= 0 {
		n = min(n, l.cap)
	}
	return n
}

// capacity returns the most permits that may be free now: the limit, or the size of the
// bucket.
func (l *Limiter) capacity() int {
	if l.cfg.Burst == 0 {
		return l.limit()
	}
	n := l.cfg.lessReserve(l.cfg.Burst)
	if l.cap >= 0 {
		n = max(1, min(n, n*l.cap/l.cfg.lessReserve(l.cfg.Limit)))
	}
	return n
}

// usable returns how many permits may be used in turn: those that are neither lent nor
// held back.
func (l *Limiter) usable() int { return l.supply.usable(l.capacity(), l.lent.len()+l.earlier.len()) }

func (l *Limiter) free() int { return l.supply.free(l.capacity()) }

func (l *Limiter) advance(now time.Time) {
	l.now = now
	l.grow(now, l.cfg)
	l.accepted.dropUntil(now.Add(-l.cfg.Window))
	l.lent.dropUntil(now)
	l.earlier.dropUntil(now)
	l.supply.advance(now, l.capacity(), float64(l.limit())/stretch(l.cfg.Window).Seconds())
}

// Take takes a permit if one may be used now. If not, it returns when to ask again; the
// zero time means: once another permit has been settled.
func (l *Limiter) Take(now time.Time) (p Permit, ok bool, again time.Time) {
	l.advance(now)
	if again, blocked := l.blocked(now); blocked {
		return Permit{}, false, again
	}
	l.last = l.next(now)
	if l.last.Before(now.Add(-l.lag())) { // after a pause
		l.last = now
	}
	if l.probing {
		l.probeOut = true
	}
	return l.take(), true, time.Time{}
}

// take takes a permit, even if none is free.
func (l *Limiter) take() Permit {
	l.seq++
	l.held.inFlight++
	l.supply.use(1)
	return Permit{seq: l.seq, released: l.held.released}
}

// blocked reports whether no permit may be taken at now, and when to ask again.
func (l *Limiter) blocked(now time.Time) (again time.Time, blocked bool) {
	switch {
	case now.Before(l.pausedUntil):
		return l.pausedUntil, true
	case l.probing && l.probeOut:
		return time.Time{}, true
	case l.free() <= 0:
		again = l.supply.nextFree(now, l.capacity())
		if now.Before(l.headerUntil) && l.supply.free(int(l.learned)) > 0 && (again.IsZero() || l.headerUntil.Before(again)) {
			again = l.headerUntil
		}
		return again, true
	}
	if next := l.next(now); now.Before(next) {
		return next, true
	}
	return time.Time{}, false
}

// GiveBack returns a permit whose request did not leave.
func (l *Limiter) GiveBack(p Permit, now time.Time) {
	l.advance(now)
	l.held.inFlight--
	l.supply.use(-1)
	l.probeOver(p)
}

// Answered settles a permit whose request got an answer other than 429. It left at sent
// (zero if that is not known). The answer began to come at answered, from which the
// window counts; that may be before now, since it takes time to read. Headers are nil
// unless the answer had all three.
func (l *Limiter) Answered(p Permit, sent, answered, now time.Time, h *Headers) {
	l.advance(now)
	l.held.answered(answered)
	l.accepted.add(now)
	l.observe(p, now, h)
	if !sent.IsZero() {
		l.measure(answered.Sub(sent))
	}
	if l.probing && p.seq > l.pausedSeq { // not an answer to a request from before the pause
		l.probing = false
		l.guess = 0
		l.slowTill = now.Add(l.cfg.Window)
		l.last = now
	}
	l.probeOver(p)
}

// Lost settles a permit whose request was given up without an answer. It may still
// arrive, so the permit stays held for LostHold and a window.
func (l *Limiter) Lost(p Permit, now time.Time) {
	l.advance(now)
	l.held.lost(now)
	l.probeOver(p)
}

// observe evaluates the headers of an answer: no more may be held than our own requests,
// all of which Clerk may have counted, plus what remains. Headers can only lower the limit:
// a sole user of the key holds a permit for every request that Clerk has counted, so the
// bound is never below the quota.
func (l *Limiter) observe(p Permit, now time.Time, h *Headers) {
	if h == nil || p.seq < l.headerSeq {
		return
	}
	l.headerSeq = p.seq
	if l.supply.atMost(h.Remaining) {
		return
	}
	l.headerLimit = h.Remaining + l.held.count() + int(l.held.released-p.released)
	l.headerUntil = now.Add(min(maxPause, max(0, h.Reset)))
}

// State describes the quota.
type State struct {
	Limit       int       // permits per window now: the configured number, or what 429s have lowered it to
	FullLimit   int       // permits per window as configured, less the reserve
	Capacity    int       // the most permits that could be available at once: Limit, or the bucket's size
	Available   int       // requests that could be sent at once
	Held        int       // permits held; with a bucket those of unanswered requests
	PausedUntil time.Time // zero if not paused

	// KeptBack are the permits held for what may have been spent before the start, and
	// KeptUntil is when the last of them comes free. Zero for a bucket, and while a shared
	// state decides.
	KeptBack  int
	KeptUntil time.Time
}

// State describes the quota at now.
func (l *Limiter) State(now time.Time) State {
	l.advance(now)
	s := State{
		Limit: l.limit(), FullLimit: l.cfg.lessReserve(l.cfg.Limit), Capacity: l.capacity(),
		Available: max(0, l.free()), Held: l.held.count(), KeptBack: l.earlier.len(),
	}
	if s.KeptBack > 0 {
		s.KeptUntil = l.earlier.at(s.KeptBack - 1)
	}
	if now.Before(l.pausedUntil) {
		s.PausedUntil = l.pausedUntil
		s.Available = 0
	}
	return s
}

// MostlyFree reports whether over half of the usable permits are free at now.
func (l *Limiter) MostlyFree(now time.Time) bool {
	l.advance(now)
	return 2*l.free() > l.usable()
}
