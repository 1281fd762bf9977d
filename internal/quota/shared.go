package quota

import (
	"slices"
	"time"
)

// Bounds of what Shared does.
const (
	alive      = 600 * time.Millisecond // how long after a reply a replica keeps to it, as the others expect
	beat       = alive / 2              // between reports, so that one may fail and be repeated in time
	retry      = 20 * time.Millisecond  // after a report without effect
	horizon    = 100 * time.Millisecond // how far ahead permits may be reserved
	maxWants   = 100                    // permits asked for in one report
	maxLimited = 100                    // 429s in one report
)

// Shared is one replica's part of a quota that several replicas share. It has the methods
// of a Limiter, and hands out the permits that exchanges with the shared state have
// brought: Report returns what to send, and Reply evaluates the answer. Like a Limiter it
// reads no clock and is not safe for concurrent use.
//
// While the state can't be reached or trusted, Shared decides by itself, and leaves the
// other replicas their shares; see fallback.go.
type Shared struct {
	cfg   Config
	id    string
	local *Limiter // knows the permits of this replica, and decides without the state
	start time.Time

	mode   mode
	epoch  string
	seq    int64
	acked  int64
	lastOK time.Time // when the last reply came
	sentAt time.Time // when the last report was made
	full   bool      // the next report must be complete
	urgent bool      // the next report is due at once
	failed bool      // the last report had no reply, or no effect
	askAt  time.Time // before that, the state has nothing to grant
	asked  [2]int    // what the last report wanted

	grants   []grant     // not used, by time
	out      int         // used, not settled
	settled  releases    // of a window: when settled permits come free
	lost     releases    // of a bucket: when permits of requests without an answer come free
	handed   []time.Time // when reserved permits that were handed back unused come free, until the state knows
	reported int         // how many of these were in the last report
	returned int         // unused tokens that were not reported yet
	lending  lending
	mail     []Message // to other replicas, until the state has them

	era         int64
	eraOut      int // used permits of this era, not settled
	answeredEra int64
	accepted    int
	limited     []limitedSeen
	headers     *headersSeen

	view   Reply
	viewAt time.Time
	clock  clock

	switchedAt time.Time // to the fallback
	atOnce     int       // permits that may be held from then on; later it is the share
}

type mode int

const (
	alone    mode = iota // no state was ever reached
	sharing              // the state decides
	fallback             // the state has decided before
)

// grant is a permit that may be used from a time on.
type grant struct {
	at       time.Time
	era      int64
	released int64
	own      bool // one of the replica's own permits, which is held until then
}

type headersSeen struct {
	Headers
	at       time.Time
	released int64
}

// limitedSeen is a 429 that was not reported yet.
type limitedSeen struct {
	era     int64
	guessed bool      // it came without a Retry-After
	until   time.Time // it pauses the key
}

// NewShared returns a replica's part of the quota. The id must be unique. If it has a
// slash, the text before the last slash is the place where the replica runs. No two
// replicas run at one place, so a silent one has ended if there is another at its place.
func NewShared(cfg Config, id string, now time.Time) *Shared {
	first := cfg.FirstWindow
	cfg.FirstWindow = FullWindow
	s := &Shared{id: id, local: New(cfg, now), start: now, full: true, lastOK: now}
	s.cfg = s.local.Config()
	s.cfg.FirstWindow = first
	return s
}

// Config returns the quota as configured, with its defaults filled in.
func (s *Shared) Config() Config { return s.cfg }

// longestHold returns after how long all permits that were granted before now have come
// free: a window after the last answer, and answers have come by the time at which a
// silent replica is noticed.
func (s *Shared) longestHold() time.Duration { return s.windowHold() + alive }

func (s *Shared) window() time.Duration { return max(s.cfg.Window, s.view.Window.Duration()) }

// Take takes a permit if one may be used now. If not, it returns when to ask again; the
// zero time means: once another permit has been settled, or a reply has come.
func (s *Shared) Take(now time.Time) (p Permit, ok bool, again time.Time) {
	s.advance(now)
	if s.mode != sharing {
		return s.takeAlone(now)
	}
	if len(s.grants) == 0 {
		return Permit{}, false, time.Time{}
	}
	if g := s.grants[0]; g.at.After(now) {
		return Permit{}, false, g.at
	}
	g := s.grants[0]
	if s.grants = s.grants[1:]; len(s.grants) == 0 {
		s.askAt = now
	}
	p = s.local.claim(now)
	p.era, p.seen = g.era, g.released
	s.used(p)
	return p, true, time.Time{}
}

// used records that p is in use.
func (s *Shared) used(p Permit) {
	s.out++
	if p.era == s.era {
		s.eraOut++
	}
}

// settle records that p is settled.
func (s *Shared) settle(p Permit) {
	s.out--
	if p.era == s.era {
		s.eraOut--
	}
}

// GiveBack returns a permit whose request did not leave.
func (s *Shared) GiveBack(p Permit, now time.Time) {
	s.local.GiveBack(p, now)
	s.settle(p)
	if s.mode == sharing {
		s.grants = slices.Insert(s.grants, 0, grant{at: now, era: p.era, released: p.seen})
	}
}

// Answered settles a permit as Limiter.Answered does.
func (s *Shared) Answered(p Permit, sent, at, now time.Time, h *Headers) {
	s.local.Answered(p, sent, at, now, h)
	s.settle(p)
	s.settled.add(at.Add(s.windowHold()))
	s.accepted++
	if s.view.Probing && p.era > s.answeredEra {
		s.urgent = true // the other replicas wait for this
	}
	s.answeredEra = max(s.answeredEra, p.era)
	s.observe(p, now, h)
}

// Limited settles a permit as Limiter.Limited does.
func (s *Shared) Limited(p Permit, now time.Time, retryAfter time.Duration, h *Headers) {
	s.local.Limited(p, now, retryAfter, h)
	s.settle(p)
	s.settled.add(now.Add(s.windowHold()))
	e := limitedSeen{era: p.era, guessed: retryAfter <= 0, until: s.local.pausedUntil}
	if !e.guessed {
		e.until = now.Add(min(maxPause, max(minPause, retryAfter)))
	}
	s.limited = append(s.limited, e)
	s.urgent = true
	s.observe(p, now, h)
}

// Lost settles a permit as Limiter.Lost does.
func (s *Shared) Lost(p Permit, now time.Time) {
	s.local.Lost(p, now)
	s.settle(p)
	s.lost.add(now.Add(s.cfg.LostHold))
	s.settled.add(now.Add(s.cfg.LostHold + s.windowHold()))
}

// windowHold returns how long a permit of a window is held after its answer.
func (s *Shared) windowHold() time.Duration { return stretch(s.window()) }

// observe records the headers of an answer.
func (s *Shared) observe(p Permit, now time.Time, h *Headers) {
	if h != nil {
		s.headers = &headersSeen{Headers: *h, at: now, released: p.seen}
	}
}

// burst returns the bucket's size, 0 for a strict window.
func (s *Shared) burst() int {
	if s.cfg.Burst == 0 {
		return 0
	}
	return s.cfg.lessReserve(s.cfg.Burst)
}
