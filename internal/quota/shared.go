package quota

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of what Shared does.
const (
	alive    = 600 * time.Millisecond // after a reply: how long the others count on its being kept to
	beat     = alive / 2              // between reports, so that one may fail and be made again in time
	retry    = 20 * time.Millisecond  // after a report that had no effect
	horizon  = 100 * time.Millisecond // how far ahead permits may be reserved
	maxWants = 100                    // permits asked for in one report
	maxTold  = 100                    // 429s told in one report
)

// Shared is a replica's part of a quota that several share. It has the methods of
// a Limiter, and hands out the permits that exchanges with the shared state have
// brought: Report gives what to tell it, and Reply takes in the answer. Like a
// Limiter it reads no clock and is not safe for concurrent use.
//
// While the state can't be reached or is not to be trusted, the replica does
// without it: Shared then decides by itself, and never more freely than leaves
// the others their shares; see fallback.
type Shared struct {
	cfg   Config
	id    string
	local *Limiter // knows the permits of this replica, and decides in the fallback
	start time.Time

	mode   mode
	epoch  string
	seq    int64
	acked  int64
	lastOK time.Time // when the last reply came
	sentAt time.Time // when the last report was made
	full   bool      // the next report must tell all
	urgent bool      // ... and is due at once
	failed bool      // the last report had no reply, or no effect
	askAt  time.Time // not before is there anything to be had
	asked  [2]int    // what the last report wanted

	grants   []grant     // not used, by time
	out      int         // used, not settled
	settled  releases    // when the others come free, of a window
	lost     releases    // ... of a bucket: those of requests without an answer
	handed   []time.Time // when reserved permits that were not used come free, until that has arrived
	told     int         // how many of them the last report has told
	returned int         // tokens that were not used, not reported yet
	lending  lending
	mail     []Message // to other replicas, not known to have been told

	era         int64
	eraOut      int // used ones of this era, not settled
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
	fallback             // it did once
)

// grant is a permit that may be used from a time on.
type grant struct {
	at       time.Time
	era      int64
	released int64
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

// NewShared makes a replica's part of the quota; id must be its own. If there is a
// slash in it, what stands before the last one is the place at which it runs. No two
// replicas run at one place, so one that is silent has ended when there is another.
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

// hold is how long a permit of before is held at most, from when nobody gets new
// ones: a window after an answer, which is taken to come as soon as a silent replica
// is found to be one.
func (s *Shared) hold() time.Duration { return s.held() + alive }

func (s *Shared) window() time.Duration { return max(s.cfg.Window, s.view.Window.Duration()) }

// Take takes a permit if one may be used now. Otherwise it says when to ask
// again; the zero time means: once another permit has been settled, or a reply has come.
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

func (s *Shared) used(p Permit) {
	s.out++
	if p.era == s.era {
		s.eraOut++
	}
}

// settle notes that p is.
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
	s.settled.add(at.Add(s.held()))
	s.accepted++
	if s.view.Probing && p.era > s.answeredEra {
		s.urgent = true // the others wait for it
	}
	s.answeredEra = max(s.answeredEra, p.era)
	s.observe(p, now, h)
}

// Limited settles a permit as Limiter.Limited does.
func (s *Shared) Limited(p Permit, now time.Time, retryAfter time.Duration, h *Headers) {
	s.local.Limited(p, now, retryAfter, h)
	s.settle(p)
	s.settled.add(now.Add(s.held()))
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
	s.settled.add(now.Add(s.cfg.LostHold + s.held()))
}

// held is how long after its answer a permit of a window is held.
func (s *Shared) held() time.Duration { return stretch(s.window()) }

func (s *Shared) observe(p Permit, now time.Time, h *Headers) {
	if h != nil {
		s.headers = &headersSeen{Headers: *h, at: now, released: p.seen}
	}
}

// beyond takes from wants the permits that are there, whether they may be used
// yet or not.
func (s *Shared) beyond(wants [2]int) [2]int {
	unused := len(s.grants)
	for p := range wants {
		n := min(wants[p], unused)
		wants[p] -= n
		unused -= n
	}
	return wants
}

// Due is when the next report is to be made, if wants, interactive and batch, are
// the permits wanted.
func (s *Shared) Due(now time.Time, wants [2]int) time.Time {
	wants = s.beyond(wants)
	due := s.sentAt.Add(beat)
	if s.failed && s.mode == sharing {
		due = s.sentAt.Add(beat / 2)
	}
	switch {
	case s.urgent, s.seq == 0:
		return now
	case s.mode != sharing, wants == [2]int{}:
		return due
	case wants[0] > 0 && s.asked[0] == 0: // others may wait with less right
		return now
	case s.askAt.Before(due):
		return s.askAt
	}
	return due
}

// Report gives what is to be told now. Its reply, or the lack of one, must be
// given to Reply before the next.
func (s *Shared) Report(now time.Time, wants [2]int) Report {
	s.advance(now)
	if s.mode != sharing {
		wants = [2]int{}
	}
	s.handBack(now, wants[0]+wants[1])
	wants = s.beyond(wants)
	wants[0] = min(wants[0], maxWants)
	wants[1] = min(wants[1], maxWants-wants[0])
	s.seq++
	all := s.full || s.lending.recall > s.acked
	r := Report{
		ID: s.id, Seq: s.seq, Acked: s.acked, Epoch: s.epoch,
		Share: s.share(), Ready: s.view.Ready,
		Fallback: s.mode != sharing, Full: all, Peers: s.view.Replicas,
		Jumped: s.clock.jumped,
		Limit:  s.cfg.lessReserve(s.cfg.Limit), Window: micros(s.cfg.Window), Burst: s.burst(),
		PaceAlways: s.cfg.Pace == PaceAlways,
		First:      [...]string{FullWindow: "full", SlowWindow: "slow", WaitWindow: "wait"}[s.cfg.FirstWindow],
		Hold:       micros(s.hold()), LostHold: micros(s.cfg.LostHold),
		Alive: micros(alive), Beat: micros(beat), Horizon: micros(horizon),
		Out: s.out + len(s.grants), Unused: len(s.grants), Returned: s.returned,
		Era: s.era, EraOut: s.eraOut, AnsweredEra: s.answeredEra, Accepted: s.accepted,
		Releases: s.settled.report(now, all), Lost: s.lost.report(now, all), Lent: s.lending.report(now, s.held(), all),
		Lend: s.lending.wanted, MaxLeased: s.cfg.MaxLeased, Mail: slices.Clone(s.mail[:min(len(s.mail), maxMail)]),
		Limited: s.tellLimited(now), Wants: wants,
	}
	for _, g := range s.grants {
		if g.era == s.era {
			r.EraOut++
		}
	}
	r.Expect, r.Tolerance = s.clock.expect(now)
	for _, free := range s.handed {
		if free.After(now) {
			r.Releases = append(r.Releases, microsUp(free.Sub(now)))
		}
	}
	if h := s.headers; h != nil {
		r.Headers = HeadersEvent{Remaining: h.Remaining, Reset: max(0, micros(h.Reset-now.Sub(h.at))), Released: h.released}
	}
	s.sentAt, s.urgent, s.asked, s.told = now, false, wants, len(s.handed)
	s.returned, s.accepted, s.headers = 0, 0, nil
	return r
}

// tellLimited gives the 429s to be told, with what is left of their pauses. Those that
// are over have been heeded without the state, and are forgotten.
func (s *Shared) tellLimited(now time.Time) []LimitedEvent {
	s.limited = slices.DeleteFunc(s.limited, func(e limitedSeen) bool { return !e.until.After(now) })
	s.limited = s.limited[max(0, len(s.limited)-maxTold):]
	events := make([]LimitedEvent, len(s.limited))
	for i, e := range s.limited {
		events[i].Era = e.era
		if !e.guessed {
			events[i].After = microsUp(e.until.Sub(now))
		}
	}
	return events
}

// Goodbye gives the last report, after which the others share what was this replica's.
func (s *Shared) Goodbye(now time.Time) Report {
	r := s.Report(now, [2]int{})
	r.Bye = true
	return r
}

// handBack gives up the permits that were not used, but for the first of them.
func (s *Shared) handBack(now time.Time, keep int) {
	keep = min(keep, len(s.grants))
	for _, g := range s.grants[keep:] {
		switch {
		case s.local.cfg.Burst > 0:
			s.returned++
		case g.at.After(now):
			s.handed = append(s.handed, g.at)
		}
	}
	s.grants = s.grants[:keep]
}

// Reply takes in what a report, made at sent, led to by now: a reply or an error.
func (s *Shared) Reply(r Report, sent, now time.Time, reply Reply, err error) {
	if err == nil {
		err = s.clock.observe(reply, sent, now)
	}
	s.failed = err != nil || reply.Status != "ok" && reply.Status != "learning"
	if s.failed {
		s.full, s.urgent = true, false // nobody knows what has arrived
		if again := now.Add(retry); again.After(s.askAt) {
			s.askAt = again
		}
		s.advance(now)
		return
	}
	s.advance(now)
	s.acked, s.lastOK, s.full = r.Seq, now, false
	s.limited = s.limited[len(r.Limited):]
	s.mail = s.mail[len(r.Mail):]
	s.urgent = s.urgent || len(s.mail) > 0
	s.handed = s.handed[s.told:]
	s.view, s.viewAt = reply, now
	if r.Seq < s.lending.mark {
		s.view.Lend = 0 // it was reserved for a loan that has been made since
	}
	if reply.Era != s.era {
		s.era, s.eraOut = reply.Era, 0
	}
	known := reply.Epoch == s.epoch
	s.epoch = reply.Epoch
	switch {
	case reply.Status == "learning" || !known && s.mode == sharing:
		s.fallBack(now)
		s.full = s.full || !known
	case s.mode != sharing:
		// From here on nothing is sent without the state. Once it has been told
		// so, with all that is held, it will grant.
		s.mode = sharing
		s.full, s.urgent = true, true
	}
	if s.mode == sharing {
		s.conform(now)
	}
	for text := range strings.FieldsSeq(reply.Grants) {
		if delay, err := strconv.ParseInt(text, 10, 64); err == nil {
			s.grants = append(s.grants, grant{now.Add(Microseconds(delay).Duration()), reply.Era, reply.Released})
		}
	}
	slices.SortStableFunc(s.grants, func(a, b grant) int { return a.at.Compare(b.at) })
	if reply.Paused > 0 {
		s.handBack(now, 0)
	}
	switch {
	case reply.Again >= 0:
		s.askAt = now.Add(reply.Again.Duration())
	case len(strings.Fields(reply.Grants)) >= r.Wants[0]+r.Wants[1]:
		s.askAt = now
	default:
		s.askAt = now.Add(beat)
	}
}

// burst is the bucket's size, 0 for a strict window.
func (s *Shared) burst() int {
	if s.cfg.Burst == 0 {
		return 0
	}
	return s.cfg.lessReserve(s.cfg.Burst)
}
