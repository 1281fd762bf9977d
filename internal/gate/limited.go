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
	// briefPause is the pause after a 429 of the quota's if Clerk accepts requests again.
	briefPause = time.Second
	// doubtFor is how long a 429 may be in doubt because there is no permit for a probe.
	doubtFor = 250 * time.Millisecond
	// maxTime is longer than any pause.
	maxTime = time.Duration(math.MaxInt64)
)

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
	g.pauseFor(limited, retryAfter, now)
}

// pauseFor pauses the key for retryAfter because of limited, and queues their wants again.
func (g *Gate) pauseFor(limited []doubt, retryAfter time.Duration, now time.Time) {
	if len(limited) == 0 {
		return
	}
	g.doubts.quotaTrust = trust{} // what it covered was the quota's as well
	g.pausedThrough = g.concurrency.launched
	for _, d := range limited {
		g.limitPermit(d.request, d.answer, retryAfter, now)
		g.requeueAll(d.request, now)
	}
}

// refuteLimits decides whom the 429s of limited concern. A probe was answered after them, so
// the key is not blocked: they concern the callers that drew them, and others go on. Those for
// which maybeQuota is true lower the limit, after a brief pause, and their wants go again.
func (g *Gate) refuteLimits(limited []doubt, now time.Time) {
	ds := &g.doubts
	var quotas, own []doubt
	for _, d := range limited { // all of them before any is recorded: they are one event
		if g.maybeQuota(d, now) {
			quotas = append(quotas, d)
		} else {
			own = append(own, d)
		}
	}
	for _, d := range limited {
		ds.refuted, ds.refutedAt = d.request.callers(), now
		for _, w := range d.request.wants {
			ds.queries.add(w.query, now)
		}
	}
	for _, d := range own {
		ds.quotaTrust.extend(d.request.callers(), now)
		g.settlePermit(d.request, d.answer, clerkapi.SpentAnswered, now)
		g.putOffLimited(d.request, now, d.answer.err)
	}
	if g.pauseFor(quotas, briefPause, now); len(quotas) > 0 {
		g.recheckPause(now, quotas[0].answer.err)
	}
}

// maybeQuota reports whether the 429 of d may be the quota's although a probe was answered
// after it. All of these must hold:
//   - Retry-After, which is rounded up to seconds, may have passed before the probe;
//   - none of the queries has drawn such a 429 since it was last answered;
//   - no other caller is known to fare better: another one has drawn such a 429 lately, or
//     nobody else has sent requests for a window, which only a single replica knows.
func (g *Gate) maybeQuota(d doubt, now time.Time) bool {
	ds := &g.doubts
	e, _ := errors.AsType[*clerkapi.Error](d.answer.err)
	if e.RetryAfter-now.Sub(d.since) > time.Second {
		return false
	}
	if slices.ContainsFunc(d.request.queries(), func(q uint64) bool { return ds.queries.has(q, now) }) {
		return false
	}
	anothers := now.Sub(ds.refutedAt) <= lastTrust && len(common(false, ds.refuted, d.request.callers())) == 0
	single := g.shared == nil || g.shared.ShareState(now).Replicas == 1
	return anothers || single && g.senders.onlyOne(now, g.limiter.Config().Window)
}
