package gate

import (
	"errors"
	"time"

	"github.com/clerkgate/clerkgate/clerkapi"
)

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

// resolve decides what the answers in doubt mean, now that a probe was answered with a.
func (g *Gate) resolve(a answer, v clerkapi.Verdict, now time.Time) {
	if v.Spent == clerkapi.SpentLimited || v.Concern == clerkapi.ConcernsEverybody {
		after := time.Duration(0)
		if e, ok := errors.AsType[*clerkapi.Error](a.err); ok && v.Spent == clerkapi.SpentLimited {
			after = e.RetryAfter
			g.pausedThrough = g.concurrency.launched
			g.concurrency.undo()
		}
		g.pauseAll(after, g.limiter.Config().Window, now)
	}
	stopping := a.err != nil && v.Concern == clerkapi.ConcernsNobody
	var refuted []doubt
	for _, d := range g.doubts.takeAll() {
		aboutQuota := d.verdict.Concern == clerkapi.ConcernsQuota
		switch {
		case stopping:
			if aboutQuota { // other permits are settled already
				g.limitPermit(d.request, d.answer, 0, now)
			}
			g.failRequest(d.request, &Error{Kind: ErrShuttingDown})
		case aboutQuota:
			refuted = append(refuted, d)
		case v.Concern == clerkapi.ConcernsKey:
			g.failRequest(d.request, d.answer.err)
		default:
			g.doubts.keyTrust.extend(d.request.callers(), now)
			g.refuse(d.request, d.verdict, now, refusedAlone(d.answer.err))
		}
	}
	g.refuteLimits(refuted, now)
}
