package gate

import (
	"errors"
	"math"
	"slices"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
)

// maxBearing is how often a want's 429 is taken for one of a limit on concurrency.
const maxBearing = 3

// Bounds of how long a caller's answers about the key or the quota are taken for its
// own after a probe has contradicted them; the time doubles while they go on.
const (
	firstTrust = time.Second
	lastTrust  = time.Minute
)

// maxTime is longer than any pause.
const maxTime = time.Duration(math.MaxInt64)

// doubt is a flight that has landed with an answer about the key or the quota, which
// a probe is to explain: whether it is everybody's, or only that of who asked.
type doubt struct {
	since   time.Time
	flight  *flight
	answer  answer
	verdict clerkapi.Verdict
}

// trust says whose answers are taken for their own.
type trust struct {
	callers []string
	until   time.Time
	length  time.Duration
}

// covers says whether one of callers may be the culprit.
func (t *trust) covers(callers []string, now time.Time) bool {
	return now.Before(t.until) && slices.ContainsFunc(callers, func(c string) bool { return slices.Contains(t.callers, c) })
}

// extend has the answers that callers draw taken for their own for a while.
func (t *trust) extend(callers []string, now time.Time) {
	if now.Sub(t.until) > lastTrust {
		t.length, t.callers = 0, nil
	}
	t.length = min(lastTrust, max(firstTrust, 2*t.length))
	t.until = now.Add(t.length)
	for _, c := range callers {
		if !slices.Contains(t.callers, c) && len(t.callers) < maxCallers {
			t.callers = append(t.callers, c)
		}
	}
}

// takeDoubted takes out all doubts.
func (s *shut) takeDoubted() []doubt {
	all := s.doubts
	s.doubts = nil
	return all
}

// doubtKey keeps f's wants until a probe has told whether Clerk refuses the key or
// only this request.
func (g *Gate) doubtKey(f *flight, a answer, v clerkapi.Verdict, now time.Time) {
	if g.shut.keyTrust.covers(f.callers(), now) {
		g.refuse(f, v, now, refusedAlone(a.err))
		return
	}
	g.shut.doubts = append(g.shut.doubts, doubt{now, f, a, v})
}

// refusedAlone is err, which spoke about the key, as that of one request: a probe has
// found the key to be good.
func refusedAlone(err error) error {
	e, ok := errors.AsType[*clerkapi.Error](err)
	if !ok {
		return err
	}
	alone := *e
	alone.Kind = clerkapi.ErrRefused
	return &alone
}

// limitedFlight takes in a flight that has landed with a 429.
func (g *Gate) limitedFlight(f *flight, a answer, v clerkapi.Verdict, now time.Time) {
	e, _ := errors.AsType[*clerkapi.Error](a.err)
	switch {
	case f.number <= g.paused, !g.limiter.State(now).PausedUntil.IsZero():
		// Of an event that is known. How long it lasts has been told by who was
		// believed then.
		g.limitPermit(f, a, 0, now)
		g.takeBack(f, now)
	case e.RetryAfter <= 0 && g.bears.concerns(f.number, f.beside) && g.spare(now) && !f.worn():
		for _, w := range f.wants {
			w.limited++
		}
		g.bears.refuse(f.number, f.beside, len(g.flights)+1)
		g.settlePermit(f, a, clerkapi.SpentAnswered, now)
		g.takeBack(f, now)
	case g.shut.quotaTrust.covers(f.callers(), now):
		g.settlePermit(f, a, clerkapi.SpentAnswered, now)
		g.ownLimited(f, now, a.err)
	default:
		g.bears.undo()
		g.shut.doubts = append(g.shut.doubts, doubt{now, f, a, v})
		if g.severalLimited() {
			g.pauseAll(0, maxTime, now)
		}
	}
	g.recheckPause(now, a.err)
}

// ownLimited has the wants of f, whose 429 is nobody else's, wait for as long as they
// were told, three times each at most. What is several callers' is split first.
func (g *Gate) ownLimited(f *flight, now time.Time, err error) {
	if f.lookup() && f.shared() && g.split(f, now) {
		return
	}
	e, _ := errors.AsType[*clerkapi.Error](err)
	for _, w := range f.wants {
		if w.refused++; w.refused >= maxTries {
			g.fail(w, err)
			continue
		}
		wait := e.RetryAfter
		if wait <= 0 {
			wait = time.Second << (w.refused - 1)
		}
		if f.alone() {
			w.askAlone()
		}
		g.putOff(w, now.Add(wait), now, &Error{Kind: ErrRateLimited, RetryAfter: wait, Err: err})
	}
}

// worn says whether a want of f's has drawn so many 429s that they are no longer
// taken for those of a limit on concurrency.
func (f *flight) worn() bool {
	return slices.ContainsFunc(f.wants, func(w *want) bool { return w.limited >= maxBearing })
}

// spare says whether less than 90 % of the quota is held.
func (g *Gate) spare(now time.Time) bool {
	s := g.limiter.State(now)
	if g.limiter.Config().Burst > 0 {
		return 10*s.Available > s.Capacity
	}
	return 10*s.Held < 9*s.Limit
}

// doubtFor is how long a 429 may be in doubt because there is no permit for a probe.
const doubtFor = 250 * time.Millisecond

// overdueDoubt has 429s taken for the quota's that no probe could be sent for: where
// there are no permits, a pause keeps nobody from anything. It returns when to look again.
func (g *Gate) overdueDoubt(now time.Time) (again time.Time) {
	if g.shut.probing {
		return time.Time{}
	}
	for _, d := range g.shut.doubts {
		if d.verdict.Concern != clerkapi.ConcernsQuota {
			continue
		}
		if due := d.since.Add(doubtFor); now.Before(due) {
			return due
		}
		g.pauseAll(0, g.limiter.Config().Window, now)
		g.recheckPause(now, d.answer.err)
		break
	}
	return time.Time{}
}

// severalLimited says whether the 429s that are in doubt were drawn by requests of
// different callers, of whom none has a part in all.
func (g *Gate) severalLimited() bool {
	var callers []string
	first := true
	for _, d := range g.shut.doubts {
		if d.verdict.Concern == clerkapi.ConcernsQuota {
			callers = common(first, callers, d.flight.callers())
			first = false
		}
	}
	return !first && len(callers) == 0
}

// pauseAll has the 429s in doubt taken for the quota's. retryAfter is what a probe was
// told; 0: it was told nothing, and the shortest of theirs counts, up to most.
func (g *Gate) pauseAll(retryAfter, most time.Duration, now time.Time) {
	var limited []doubt
	g.shut.doubts = slices.DeleteFunc(g.shut.doubts, func(d doubt) bool {
		if d.verdict.Concern != clerkapi.ConcernsQuota {
			return false
		}
		limited = append(limited, d)
		return true
	})
	if retryAfter <= 0 {
		for _, d := range limited {
			if e, _ := errors.AsType[*clerkapi.Error](d.answer.err); e.RetryAfter > 0 && (retryAfter <= 0 || e.RetryAfter < retryAfter) {
				retryAfter = min(most, e.RetryAfter)
			}
		}
	}
	if len(limited) > 0 {
		g.paused = g.bears.launched
	}
	for _, d := range limited {
		g.limitPermit(d.flight, d.answer, retryAfter, now)
		g.takeBack(d.flight, now)
	}
}

// limitPermit settles the permit of a flight that drew a 429 with another
// Retry-After than its own.
func (g *Gate) limitPermit(f *flight, a answer, retryAfter time.Duration, now time.Time) {
	if e, ok := errors.AsType[*clerkapi.Error](a.err); ok {
		other := *e
		other.RetryAfter = retryAfter
		a.err = &other
	}
	g.settlePermit(f, a, clerkapi.SpentLimited, now)
}

// resolve explains what was in doubt, now that a probe has brought a.
func (g *Gate) resolve(a answer, v clerkapi.Verdict, now time.Time) {
	if v.Spent == clerkapi.SpentLimited || v.Concern == clerkapi.ConcernsEverybody {
		after := time.Duration(0)
		if e, ok := errors.AsType[*clerkapi.Error](a.err); ok && v.Spent == clerkapi.SpentLimited {
			after = e.RetryAfter
			g.paused = g.bears.launched
		}
		g.pauseAll(after, g.limiter.Config().Window, now)
	}
	for _, d := range g.shut.takeDoubted() {
		switch {
		case a.err != nil && v.Concern == clerkapi.ConcernsNobody: // stopping
			g.settleDoubt(d, now)
			g.failFlight(d.flight, &Error{Kind: ErrShuttingDown})
		case d.verdict.Concern == clerkapi.ConcernsQuota:
			g.shut.quotaTrust.extend(d.flight.callers(), now)
			g.settlePermit(d.flight, d.answer, clerkapi.SpentAnswered, now)
			g.ownLimited(d.flight, now, d.answer.err)
		case v.Concern == clerkapi.ConcernsKey:
			g.failFlight(d.flight, d.answer.err)
		default:
			g.shut.keyTrust.extend(d.flight.callers(), now)
			g.refuse(d.flight, d.verdict, now, refusedAlone(d.answer.err))
		}
	}
}

// settleDoubt settles the permit of a flight in doubt, if that has not been done.
func (g *Gate) settleDoubt(d doubt, now time.Time) {
	if d.verdict.Concern == clerkapi.ConcernsQuota {
		g.limitPermit(d.flight, d.answer, 0, now)
	}
}
