package gate

import (
	"errors"
	"math"
	"slices"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
)

const (
	// maxCrowdLimits is how often a want's 429s are taken for those of a limit on
	// concurrency.
	maxCrowdLimits = 3
	// doubtFor is how long a 429 may be in doubt because there is no permit for a probe.
	doubtFor = 250 * time.Millisecond
)

// After a probe has contradicted a caller's answers about the key or the quota, such
// answers are taken for the caller's own for a time, which doubles while they go on.
const (
	firstTrust = time.Second
	lastTrust  = time.Minute
	maxTrusted = 1000 // callers in one set
)

// maxTime is longer than any pause.
const maxTime = time.Duration(math.MaxInt64)

// doubts holds the answers about the key or the quota that a probe is to explain:
// whether they concern everybody, or only the callers that drew them.
type doubts struct {
	all        []doubt
	keyTrust   trust // callers whose answers about the key a probe has contradicted
	quotaTrust trust // ... and their 429s
}

// doubt is a request whose answer is in doubt.
type doubt struct {
	since   time.Time
	request *request
	answer  answer
	verdict clerkapi.Verdict
}

// takeAll removes and returns all doubts.
func (ds *doubts) takeAll() []doubt {
	all := ds.all
	ds.all = nil
	return all
}

// othersWait reports whether all other requests wait until a probe has shown whose a 429 was.
func (ds *doubts) othersWait() bool {
	return slices.ContainsFunc(ds.all, func(d doubt) bool { return d.verdict.Concern == clerkapi.ConcernsQuota })
}

// trust is a set of callers whose answers are taken for their own for a time.
type trust struct {
	callers []string
	until   time.Time
	length  time.Duration
}

// covers reports whether the set has one of callers.
func (t *trust) covers(callers []string, now time.Time) bool {
	return now.Before(t.until) && slices.ContainsFunc(callers, func(c string) bool { return slices.Contains(t.callers, c) })
}

// extend adds callers and prolongs the time.
func (t *trust) extend(callers []string, now time.Time) {
	if now.Sub(t.until) > lastTrust {
		t.length, t.callers = 0, nil
	}
	t.length = min(lastTrust, max(firstTrust, 2*t.length))
	t.until = now.Add(t.length)
	for _, c := range callers {
		if !slices.Contains(t.callers, c) && len(t.callers) < maxTrusted {
			t.callers = append(t.callers, c)
		}
	}
}

// doubtKey keeps the wants of r until a probe has shown whether Clerk refuses the key
// or only this request.
func (g *Gate) doubtKey(r *request, a answer, v clerkapi.Verdict, now time.Time) {
	if g.doubts.keyTrust.covers(r.callers(), now) {
		g.refuse(r, v, now, refusedAlone(a.err))
		return
	}
	g.doubts.all = append(g.doubts.all, doubt{now, r, a, v})
}

// refusedAlone returns err, which was about the key, as an error about one request: a
// probe has found the key to be good.
func refusedAlone(err error) error {
	e, ok := errors.AsType[*clerkapi.Error](err)
	if !ok {
		return err
	}
	alone := *e
	alone.Kind = clerkapi.ErrRefused
	return &alone
}

// settleLimited decides what the 429 that r drew means.
func (g *Gate) settleLimited(r *request, a answer, v clerkapi.Verdict, now time.Time) {
	e, _ := errors.AsType[*clerkapi.Error](a.err)
	switch {
	case r.number <= g.pausedThrough, !g.limiter.State(now).PausedUntil.IsZero():
		// It belongs to a pause that is known, whose length others have set.
		g.limitPermit(r, a, 0, now)
		g.requeueAll(r, now)
	case e.RetryAfter <= 0 && g.concurrency.concerns(r.number, r.beside) && g.spare(now) && !r.worn():
		for _, w := range r.wants {
			w.crowdLimits++
		}
		g.concurrency.refuse(r.number, r.beside, len(g.requests)+1)
		g.settlePermit(r, a, clerkapi.SpentAnswered, now)
		g.requeueAll(r, now)
	case g.doubts.quotaTrust.covers(r.callers(), now):
		g.settlePermit(r, a, clerkapi.SpentAnswered, now)
		g.putOffLimited(r, now, a.err)
	default:
		g.concurrency.undo()
		g.doubts.all = append(g.doubts.all, doubt{now, r, a, v})
		if g.severalLimited() {
			g.pauseAll(0, maxTime, now)
		}
	}
	g.recheckPause(now, a.err)
}

// putOffLimited delays the wants of r, whose 429 concerns no other callers, for as long
// as Clerk has asked, three times each at most. A request of several callers is split
// first.
func (g *Gate) putOffLimited(r *request, now time.Time, err error) {
	if r.forUsers() && r.severalCallers() && g.split(r, now) {
		return
	}
	e, _ := errors.AsType[*clerkapi.Error](err)
	for _, w := range r.wants {
		if w.ownLimits++; w.ownLimits >= maxTries {
			g.fail(w, err)
			continue
		}
		wait := e.RetryAfter
		if wait <= 0 {
			wait = time.Second << (w.ownLimits - 1)
		}
		if r.alone() {
			w.askAlone()
		}
		g.putOff(w, now.Add(wait), now, &Error{Kind: ErrRateLimited, RetryAfter: wait, Err: err})
	}
}

// worn reports whether a want of r has drawn so many 429s that they are no longer taken
// for those of a limit on concurrency.
func (r *request) worn() bool {
	return slices.ContainsFunc(r.wants, func(w *want) bool { return w.crowdLimits >= maxCrowdLimits })
}

// spare reports whether less than 90 % of the quota is held.
func (g *Gate) spare(now time.Time) bool {
	s := g.limiter.State(now)
	if g.limiter.Config().Burst > 0 {
		return 10*s.Available > s.Capacity
	}
	return 10*s.Held < 9*s.Limit
}

// overdueDoubt takes 429s for the quota's that have been in doubt for too long because
// there was no permit for a probe: without permits, a pause delays nobody. It returns
// when to look again.
func (g *Gate) overdueDoubt(now time.Time) (again time.Time) {
	if g.probes.underWay {
		return time.Time{}
	}
	for _, d := range g.doubts.all {
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

// severalLimited reports whether the 429s in doubt were drawn by requests of different
// callers, of whom none has a part in all.
func (g *Gate) severalLimited() bool {
	var callers []string
	first := true
	for _, d := range g.doubts.all {
		if d.verdict.Concern == clerkapi.ConcernsQuota {
			callers = common(first, callers, d.request.callers())
			first = false
		}
	}
	return !first && len(callers) == 0
}

// pauseAll takes all 429s in doubt for the quota's, and queues their wants again. The
// pause lasts retryAfter, which a probe was answered. If that is 0, it lasts as long as
// the shortest Retry-After of the 429s, but not longer than most.
func (g *Gate) pauseAll(retryAfter, most time.Duration, now time.Time) {
	var limited []doubt
	g.doubts.all = slices.DeleteFunc(g.doubts.all, func(d doubt) bool {
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
		g.pausedThrough = g.concurrency.launched
	}
	for _, d := range limited {
		g.limitPermit(d.request, d.answer, retryAfter, now)
		g.requeueAll(d.request, now)
	}
}

// resolve decides what the answers in doubt mean, now that a probe was answered with a.
func (g *Gate) resolve(a answer, v clerkapi.Verdict, now time.Time) {
	if v.Spent == clerkapi.SpentLimited || v.Concern == clerkapi.ConcernsEverybody {
		after := time.Duration(0)
		if e, ok := errors.AsType[*clerkapi.Error](a.err); ok && v.Spent == clerkapi.SpentLimited {
			after = e.RetryAfter
			g.pausedThrough = g.concurrency.launched
		}
		g.pauseAll(after, g.limiter.Config().Window, now)
	}
	stopping := a.err != nil && v.Concern == clerkapi.ConcernsNobody
	for _, d := range g.doubts.takeAll() {
		aboutQuota := d.verdict.Concern == clerkapi.ConcernsQuota
		switch {
		case stopping:
			if aboutQuota { // other permits are settled already
				g.limitPermit(d.request, d.answer, 0, now)
			}
			g.failRequest(d.request, &Error{Kind: ErrShuttingDown})
		case aboutQuota:
			g.doubts.quotaTrust.extend(d.request.callers(), now)
			g.settlePermit(d.request, d.answer, clerkapi.SpentAnswered, now)
			g.putOffLimited(d.request, now, d.answer.err)
		case v.Concern == clerkapi.ConcernsKey:
			g.failRequest(d.request, d.answer.err)
		default:
			g.doubts.keyTrust.extend(d.request.callers(), now)
			g.refuse(d.request, d.verdict, now, refusedAlone(d.answer.err))
		}
	}
}
